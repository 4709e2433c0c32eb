package cli

import (
	"cmp"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// whyAccounts tells of the accounts beside the device's own, in the cloud's
// time.
func whyAccounts(s local.Status, now time.Time) []string {
	t := &story{now: now.Add(span(s.Clock.ServerOffset))}
	told := false
	for _, a := range s.Accounts {
		if a.Account != local.DeviceAccount {
			told = true
			t.item()
			t.account(a)
		}
	}
	t.say(!told, "There is no account beside the device's own: a file in accounts.d makes one")
	return t.said
}

func (t *story) account(a local.Account) {
	name := "Account " + a.Account + " (" + a.Profile + ")"
	switch a.State {
	case "none":
		t.say(true, "%s has had no token%s: %s", name, t.since(a.Since), cmp.Or(a.LastError, a.Reason, "none was asked for yet"))
	case "valid":
		t.say(a.Expires.IsZero(), "%s has a token that names no expiry, so the cloud alone judges it", name)
		t.say(!a.Expires.IsZero(), "%s has a token that is valid until %s", name, t.at(a.Expires))
		t.say(!a.LastRenewal.IsZero(), "It was renewed at %s", t.at(a.LastRenewal))
		t.say(!a.RenewAt.IsZero(), "It is renewed at %s", t.at(a.RenewAt))
	case "renewing":
		t.say(true, "The token of %s has been due for renewal%s: %s", lower(name), t.since(a.Since), cmp.Or(a.Reason, "the time for it has come"))
	case "stale":
		t.say(true, "The token of %s has not been renewed in %s%s: %s", lower(name), countOf(a.Attempt, "attempt"), t.since(a.Since), cmp.Or(a.LastError, a.Reason))
		t.say(a.Expires.After(t.now), "It is used as before, and expires at %s", t.at(a.Expires))
	case "refused":
		t.say(true, "The cloud has refused %s%s: %s", lower(name), t.since(a.Since), cmp.Or(a.LastError, a.Reason))
	case "expired":
		t.say(true, "The token of %s cannot be renewed any more%s: %s", lower(name), t.since(a.Since), cmp.Or(a.LastError, a.Reason))
	default:
		t.say(true, "The state of %s is not known yet", lower(name))
	}
	t.say(a.Missing != "", "It does not permit %s, which was asked for", a.Missing)
	t.say(a.NeedsLogin, "A person must log in: %s login %s", Name, a.Account)
	t.say(a.LimitedUntil.After(t.now), "The cloud's rate limit lets no request pass before %s", t.at(a.LimitedUntil))
	if a.State != "valid" && !a.NeedsLogin {
		t.next(a.NextTry, "")
	}
	when := a.PointOfNoReturn
	t.say(when.After(t.now), "If no attempt succeeded, it could not be renewed any more after %s", t.at(when))
	t.say(a.State != "none" && a.State != "" && !a.Stored, "It is in memory alone and would be lost with the power, because the state directory does not take it")
	for _, d := range a.Deliveries {
		t.say(d.State == "failing", "Delivery %s fails: see %s why deliveries", d.ID, Name)
	}
}

// whyDeliveries tells of the deliveries of every account, by the system's clock.
func whyDeliveries(s local.Status, now time.Time) []string {
	t := &story{now: now}
	for _, a := range s.Accounts {
		for _, d := range a.Deliveries {
			t.item()
			t.delivery(a, d)
		}
	}
	t.say(len(t.said) == 0, "No token is delivered to another program: a section [deliver.ID] in an account's file would")
	return t.said
}

func (t *story) delivery(a local.Account, d local.Delivery) {
	name, to := "Delivery "+d.ID+" of account "+a.Account, ""
	if d.File != "" {
		to = " to " + d.File
	}
	switch d.State {
	case "waiting":
		t.say(true, "%s%s has been waiting%s, because the account has no token: see %s why accounts", name, to, t.since(d.Since), Name)
	case "delivered":
		t.say(true, "%s%s has the newest token%s", name, to, t.since(d.Since))
	case "telling":
		t.say(true, "%s%s is done, and its reader is being told%s", name, to, t.since(d.Since))
	case "failing":
		t.say(true, "%s%s has failed%s, %s in a row: %s", name, to, t.since(d.Since), countOf(d.Attempt, "attempt"), cmp.Or(d.Error, "no reason is known"))
		t.next(d.NextTry, "; the other deliveries go on")
	default:
		t.say(true, "The state of %s is not known yet", lower(name))
	}
	t.say(!d.Written.IsZero(), "The file was written last at %s", t.at(d.Written))
	t.say(!d.Told.IsZero(), "Its reader was told last at %s", t.at(d.Told))
	t.say(d.State == "delivered" && d.Told.IsZero() && d.Written.IsZero(), "Nothing had to be written since the agent started")
}

// lower begins text without a capital.
func lower(text string) string { return strings.ToLower(text[:1]) + text[1:] }
