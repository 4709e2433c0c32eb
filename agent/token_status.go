package agent

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// tokenStates puts the keeper's words into the API's.
var tokenStates = map[account.State]string{
	account.Unprovisioned: "none", account.Good: "valid", account.Due: "renewing",
	account.Failing: "stale", account.Rejected: "refused", account.Lost: "expired",
}

func (g *generation) tokenStatus(s account.Status) local.Token {
	state, r := g.clock.State()
	now := state.Now(r)
	_, refusal := g.device.known()
	t := local.Token{
		State: tokenStates[s.State], Reason: s.Reason, Subject: s.Token.DeviceID, Tail: s.Token.Tail(),
		Issued: s.Token.Issued, Expires: s.Token.Expires,
		WindowOpens: s.Window.Opens, RenewAt: s.Window.Due, PointOfNoReturn: s.Window.Closes, Spent: math.Floor(100*s.Spent) / 100,
		LastRenewal: s.LastRenewal, Renewals: s.Renewals, Attempts: s.Attempts, Attempt: s.Failures,
		LastError: s.LastError, LastErrorAt: s.LastErrorAt, Refusal: refusal,
		Stored: local.Stored{
			State:        s.StoreError == "" && !s.Token.IsZero(),
			IdentityFile: s.WriteError == "" && s.FileError == "" && !s.Token.IsZero(),
			Error:        cmp.Or(s.StoreError, s.WriteError),
		},
	}
	t.Since = g.standing.since(t.State, r, now)
	if !s.Token.IsZero() {
		t.NextTry = s.NextTry
	}
	return t
}

func (g *generation) identityStatus(tok account.Status) local.Identity {
	id := local.Identity{State: "provisioned", File: g.conf.Paths.Identity, Error: tok.FileError, Advice: g.advice()}
	if tok.Token.IsZero() {
		id.State = string(account.Unprovisioned)
	}
	id.DeviceID, id.Source = g.deviceID(tok.Token)
	sources, _ := g.device.known()
	for _, s := range sources {
		id.Sources = append(id.Sources, local.Source{Key: s.Key, Name: s.Name, State: standing(s, Used(sources, s.Key))})
	}
	return id
}

// standing compares a source with the one that is used.
func standing(s, used Source) string {
	switch {
	case s.Value == "":
		return "absent"
	case s == used:
		return "used"
	case s.Value == used.Value:
		return "same"
	}
	return "differs"
}

func (g *generation) advice() string {
	sources, refusal := g.device.known()
	return Advice(sources, refusal)
}

// Advice is a sentence for a person when cpu_id or uuid is missing, or when the
// cloud refused a login with 400, which it does for a wrong one. It is "" if
// there is nothing to say. refusal is the HTTP status of the last login, 0 if
// the cloud did not refuse it.
func Advice(sources []Source, refusal int) string {
	var missing, used, others []string
	for _, key := range []string{KeyCPUID, KeyUUID} {
		if u := Used(sources, key); u.Value == "" {
			missing = append(missing, key)
		} else {
			used = append(used, key+" from "+placeName(u.Name))
		}
	}
	for _, s := range sources {
		if standing(s, Used(sources, s.Key)) == "differs" {
			others = append(others, fmt.Sprintf("%s says another %s", placeName(s.Name), s.Key))
		}
	}
	switch {
	case len(sources) == 0:
		return ""
	case len(missing) > 0:
		return fmt.Sprintf("no source tells %s, and without it no token is renewed: set it under [identity]; looked for in %s",
			strings.Join(missing, " and "), places(sources, missing))
	case refusal != http.StatusBadRequest:
		return ""
	case len(others) > 0:
		return fmt.Sprintf("the cloud answers 400 when cpu_id or uuid is not the device's: it was told %s, but %s; compare with the device's entry in the cloud and set the right one under [identity]",
			strings.Join(used, " and "), strings.Join(others, " and "))
	}
	return fmt.Sprintf("the cloud answers 400 when cpu_id or uuid is not the device's: it was told %s, and no other source says otherwise; compare with the device's entry in the cloud and set the right one under [identity]",
		strings.Join(used, " and "))
}

// placeName is the name of a source in a sentence.
func placeName(name string) string {
	switch name {
	case "identity_file":
		return "the identity file"
	case "settings":
		return "the settings"
	case "state":
		return "the state directory"
	}
	return name
}

func places(sources []Source, keys []string) string {
	var names []string
	for _, s := range sources {
		if strings.Contains(strings.Join(keys, " "), s.Key) && !strings.Contains(strings.Join(names, "\n"), placeName(s.Name)) {
			names = append(names, placeName(s.Name))
		}
	}
	return strings.Join(names, ", ")
}
