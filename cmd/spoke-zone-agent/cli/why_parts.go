package cli

import (
	"cmp"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// causes is what a person can do about an error of the session, by its kind.
var causes = map[string]string{
	"taken":       "Find the other program that connects with this client id, or give one of the two another by mqtt.client_id in the settings; until then the agent waits longer and longer, so that the two do not drive each other out all the time",
	"kicked":      "A broker that ends a connection so soon after accepting it does so because of another client with this client id, or because of a topic that the device may not use",
	"silent":      "The link is dead, or the broker hangs: what was sent is not answered any more",
	"protocol":    "Whatever answers there sends what no broker may send: see mqtt.broker in the settings, and what is between the two",
	"rejected":    "The broker does not accept the client id or the version of the protocol, and not for the token's sake",
	"unavailable": "The broker says that it is not available now",
}

// outbox tells what waits for the session.
func (t *story) outbox(o local.Outbox) {
	t.say(o.Messages > 0, "%s for the broker, on disk and in order", countOf(o.Messages, "message")+" "+wait(o.Messages))
	t.say(o.Dropped > 0, "%s dropped since the start, oldest first: see outbox.max_bytes and outbox.max_age in the settings", were(int(o.Dropped), "message"))
	t.say(o.Error != "", "The disk takes no messages, so that only those are accepted that the broker takes at once: %s", o.Error)
}

func wait(n int) string {
	if n == 1 {
		return "waits"
	}
	return "wait"
}

// whyMQTT tells of the session with the broker.
func whyMQTT(s local.Status, now time.Time) []string {
	t := &story{now: now}
	m := s.MQTT
	switch {
	case m.State == "online":
		t.say(true, "The session with %s has been up%s, as %s", m.Broker, t.since(m.Since), m.ClientID)
		t.say(m.Connects > 1, "It is connection number %d since the agent started", m.Connects)
		t.say(m.Held == "" && !m.BreakFirst, "When the token is renewed, a second connection takes over before this one ends")
		t.say(m.BreakFirst, "When the token is renewed, it ends before the next one begins, because this broker accepts no two of one client")
		t.say(m.Held != "", "It still has the token before the newest, with which none could take over: %s", m.Held)
		t.next(m.NextTry, "")
	case s.Token.State == "none":
		t.say(true, "There is no session with %s, because the broker wants the token and there is none: see %s why token", m.Broker, Name)
	case m.State == "connecting":
		t.say(true, "The agent has been connecting to %s%s", m.Broker, t.since(m.Since))
		t.say(m.Error != "", "Before that: %s", m.Error)
	case m.State == "refused":
		t.say(true, "The broker %s has refused the token%s: %s", m.Broker, t.since(m.Since), m.Error)
		t.say(true, "The cloud was asked for another token at once, and a new one ends the wait: see %s why token", Name)
		t.next(m.NextTry, "")
	default:
		t.say(true, "There has been no session with %s%s: %s", m.Broker, t.since(m.Since), cmp.Or(m.Error, "no attempt has ended yet"))
		t.say(true, "%s", causes[m.Cause])
		t.say(m.Attempt > 1, "%d attempts in a row have failed", m.Attempt)
		t.next(m.NextTry, ", or as soon as a network comes")
	}
	t.outbox(s.Outbox)
	t.say(len(m.RefusedFilters) > 0, "The broker refuses subscriptions to %s, so that commands there are not heard: see mqtt.topic_base in the settings",
		strings.Join(m.RefusedFilters, " "))
	return t.said
}

// whyOTA tells of the update of each module.
func whyOTA(s local.Status, now time.Time) []string {
	t := &story{now: now}
	t.say(len(s.OTA) == 0, "No updates are looked for, because the settings name no module: add a section [module.KEY] for each module of the model")
	for _, m := range s.OTA {
		t.item()
		installed := "an unknown version"
		if m.Installed != "" {
			installed = "version " + m.Installed
		}
		t.say(true, "Module %s has %s and its update is %s%s%s", m.Module, installed, cmp.Or(m.Phase, "unknown"), t.since(m.Since), because(m.Reason))
		t.say(m.Offered != "" && m.Offered != m.Installed, "The cloud offers %s", m.Offered)
		t.say(m.Error != "" && !strings.Contains(m.Reason, m.Error), "The last error: %s", m.Error)
		t.say(m.Denied != "" && !strings.Contains(m.Reason, m.Denied), "Of the releases, %s", m.Denied)
		t.say(m.Refused != "", "Releases whose names are unsafe are refused: %s", m.Refused)
		t.say(m.Approved != "", "A person wants it installed")
		t.say(m.Outcome != "", "The update before: %s", m.Outcome)
		t.next(m.NextTry, "")
		t.say(!m.NextCheck.IsZero(), "The cloud is asked for releases at %s", t.at(m.NextCheck))
		t.say(m.NextCheck.IsZero() && s.Token.State == "none", "The cloud is asked once there is a token")
	}
	return t.said
}

// because is a reason at the end of a sentence.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// whyUpload tells of the data files.
func whyUpload(s local.Status, now time.Time) []string {
	t := &story{now: now}
	u := s.Upload
	t.say(u.Queued == 0, "No data file waits; %s sent since the agent started", were(int(u.Sent), "file"))
	t.say(u.Queued > 0 && u.InFlight == "", "%s (%s) %s waited%s", countOf(u.Queued, "data file"), bytesText(u.QueuedBytes), have(u.Queued), t.since(u.Since))
	t.say(u.InFlight != "", "The file %s has been on its way%s; with it the spool holds %s (%s)", u.InFlight, t.since(u.Since), countOf(u.Queued, "data file"), bytesText(u.QueuedBytes))
	t.say(u.Error != "", "The last error: %s", u.Error)
	t.say(u.Queued > 0 && s.Token.State == "none", "The cloud takes none without a token: see %s why token", Name)
	t.next(u.NextTry, "")
	t.say(u.Quarantined > 0, "%s set aside, each with its reason beside it in quarantine under the state directory", were(int(u.Quarantined), "file"))
	t.say(u.Dropped > 0, "%s lost because the spool was full: see upload.max_spool in the settings", were(int(u.Dropped), "file"))
	for _, c := range u.Collect {
		t.say(true, "Of the logs of %s %s %s followed; %s made of them since the start, and %s wait to be", c.Name, countOf(c.Files, "file"), is(c.Files), were(int(c.DataFiles), "data file"), bytesText(c.BytesBehind))
		t.say(c.Error != "", "Not all of these can be followed: %s", c.Error)
		t.say(c.BytesLost > 0, "%s of them were gone before they were read: rotate them less often, keep what was rotated longer, or lower collect.%s.interval", bytesText(c.BytesLost), c.Name)
	}
	return t.said
}

func is(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func have(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}
