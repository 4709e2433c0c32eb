package cli

import (
	"cmp"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// whyMQTT tells of the session with the broker.
func whyMQTT(s local.Status, now time.Time) []string {
	t := &story{now: now}
	m := s.MQTT
	switch {
	case m.State == "online":
		t.say(true, "The session with %s has been up%s, as %s", m.Broker, t.since(m.Since), m.ClientID)
		t.say(m.Connects > 1, "It is connection number %d since the agent started", m.Connects)
		t.say(true, "It connects again at once when the token is renewed")
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
		t.say(m.Attempt > 1, "%d attempts in a row have failed", m.Attempt)
		t.next(m.NextTry, ", or as soon as a network comes")
	}
	t.say(len(m.RefusedFilters) > 0, "The broker refuses subscriptions to %s, so that commands there are not heard: see mqtt.topic_base in the settings",
		strings.Join(m.RefusedFilters, " "))
	return t.said
}

// whyOTA tells of the update of each module.
func whyOTA(s local.Status, now time.Time) []string {
	t := &story{now: now}
	t.say(len(s.OTA) == 0, "No updates are looked for, because the settings name no module: add a section [module.KEY] for each module of the model")
	for _, m := range s.OTA {
		installed := "an unknown version"
		if m.Installed != "" {
			installed = "version " + m.Installed
		}
		t.say(true, "Module %s has %s and its update is %s%s%s", m.Module, installed, cmp.Or(m.Phase, "unknown"), t.since(m.Since), because(m.Reason))
		t.say(m.Offered != "" && m.Offered != m.Installed, "The cloud offers %s", m.Offered)
		t.say(m.Error != "" && !strings.Contains(m.Reason, m.Error), "The last error: %s", m.Error)
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
	t.say(u.Queued == 0, "No data file waits; %d were sent since the agent started", u.Sent)
	t.say(u.Queued > 0 && u.InFlight == "", "%s (%s) %s waited%s", countOf(u.Queued, "data file"), bytesText(u.QueuedBytes), have(u.Queued), t.since(u.Since))
	t.say(u.InFlight != "", "The file %s has been on its way%s; with it the spool holds %s (%s)", u.InFlight, t.since(u.Since), countOf(u.Queued, "data file"), bytesText(u.QueuedBytes))
	t.say(u.Error != "", "The last error: %s", u.Error)
	t.say(u.Queued > 0 && s.Token.State == "none", "The cloud takes none without a token: see %s why token", Name)
	t.next(u.NextTry, "")
	t.say(u.Quarantined > 0, "%s were set aside, each with its reason beside it in quarantine under the state directory", countOf(int(u.Quarantined), "file"))
	t.say(u.Dropped > 0, "%s were lost because the spool was full: see upload.max_spool in the settings", countOf(int(u.Dropped), "file"))
	return t.said
}

func have(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}
