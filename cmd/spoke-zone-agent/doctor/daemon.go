package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
)

const adopt = "a person who may make tokens in the cloud must bring a new one: spoke-zone-agent adopt -"

// token tells how long the token is good for: by the word of the daemon, else
// by what stands in the identity file.
func (p *patient) token(context.Context) []Finding {
	if !p.up() {
		return p.tokenInFile()
	}
	t := p.status.Token
	now := p.time().Add(time.Duration(max(-8e9, min(p.status.Clock.ServerOffset, 8e9)) * float64(time.Second)))
	times := until(t.Expires, t.PointOfNoReturn)
	switch t.State {
	case "valid", "renewing":
		return ok(t.State + times)
	case "stale":
		return warn(fmt.Sprintf("not renewed in %d attempts%s, %.0f %% of the time for it are over: %s", t.Attempt, times, 100*t.Spent, t.LastError), "see spoke-zone-agent why token")
	case "refused":
		cure := "see cpu_id and uuid above, then spoke-zone-agent renew"
		if !t.PointOfNoReturn.IsZero() && now.After(t.PointOfNoReturn) {
			cure = adopt
		}
		return fail("the cloud refuses to renew it"+times+": "+t.LastError, cure)
	case "expired":
		return fail("it cannot be renewed any more"+times+": "+t.LastError, adopt)
	case "none":
		return fail("there is none: "+p.status.Identity.Error, "provision the device, or spoke-zone-agent adopt -")
	}
	return warn("its state is not known yet", "look again in a moment")
}

func until(expires, closes time.Time) string {
	var text []string
	if !expires.IsZero() {
		text = append(text, "expires "+stamp(expires))
	}
	if !closes.IsZero() {
		text = append(text, "no return after "+stamp(closes))
	}
	if len(text) == 0 {
		return ""
	}
	return " (" + strings.Join(text, ", ") + ")"
}

// tokenInFile judges the vendor's token by our clock. The state directory may
// hold a newer one, which only the daemon reads.
func (p *patient) tokenInFile() []Finding {
	tok, err := account.ParseToken(p.identity.Token, account.Names{})
	if p.idErr != nil || err != nil {
		return warn("the daemon does not answer and the identity file has none to look at", "start the daemon")
	}
	c := p.conf.Token
	w := account.Schedule{RenewBefore: c.RenewBefore, Grace: c.Grace, Spread: c.Spread}.Window(tok)
	text := "in the identity file" + until(tok.Expires, w.Closes)
	switch now := p.time(); {
	case tok.Expires.IsZero():
		return ok(text + ", without an expiry")
	case !now.Before(w.Closes):
		return fail(text+": too old to be renewed, unless the state directory holds a newer one", "start the daemon; if it says the same, "+adopt)
	case !now.Before(w.Opens):
		return warn(text+": it is time to renew it", "start the daemon")
	}
	return ok(text)
}

// daemon tells whether the agent runs.
func (p *patient) daemon(context.Context) []Finding {
	switch {
	case stopped(p.running) && errors.Is(p.running, fs.ErrPermission):
		return warn(p.running.Error(), "run doctor as root")
	case stopped(p.running):
		return fail(p.running.Error(), "systemctl enable --now spoke-zone-agent, and see journalctl -u spoke-zone-agent")
	case p.running != nil:
		return fail("the daemon does not answer as it should: "+p.running.Error(), "systemctl restart spoke-zone-agent")
	case p.Version != "" && p.status.Version != p.Version:
		return warn(fmt.Sprintf("process %d runs version %s, this program is %s", p.status.PID, p.status.Version, p.Version), "systemctl restart spoke-zone-agent")
	}
	held := fmt.Sprintf("the kernel's Landlock, version %d, holds it to its directories", p.status.Sandbox.Landlock)
	if p.status.Sandbox.Landlock == 0 {
		held = "nothing but its service's sandbox holds it to its directories: " + p.status.Sandbox.Missing
	}
	return append(ok(fmt.Sprintf("version %s runs as process %d since %s", p.status.Version, p.status.PID, stamp(p.status.Started))), ok(held)...)
}

// session tells how the daemon stands with the broker.
func (p *patient) session(context.Context) []Finding {
	if !p.up() {
		return warn("known to the daemon alone", "start the daemon")
	}
	m := p.status.MQTT
	switch {
	case len(m.RefusedFilters) > 0:
		return warn("the broker refuses the subscriptions "+strings.Join(m.RefusedFilters, " "), "see mqtt.topic_base: commands from the cloud are not heard")
	case m.State == "online":
		return ok("with " + m.Broker + " since " + stamp(m.Since))
	case m.State == "refused":
		return fail("the broker "+m.Broker+" refuses the token: "+m.Error, "see token above")
	case p.status.Token.State == "none":
		return warn("it waits for a token", "see token above")
	}
	return warn(fmt.Sprintf("%s for %d attempts: %s", m.State, m.Attempt, m.Error), "see broker above; it is tried again by itself")
}
