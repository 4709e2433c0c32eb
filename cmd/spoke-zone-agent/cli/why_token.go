package cli

import (
	"cmp"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// adoptHint is what a person does about a token that is lost.
const adoptHint = "a person who may make tokens in the cloud must bring a new one: " + Name + " adopt -"

// whyToken tells of the token, in the cloud's time.
func whyToken(s local.Status, now time.Time) []string {
	t := &story{now: now.Add(span(s.Clock.ServerOffset))}
	tok := s.Token
	switch tok.State {
	case "none":
		t.unprovisioned(s)
		return t.said
	case "valid":
		t.valid(tok)
	case "renewing":
		t.say(true, "The token has been due for renewal%s: %s", t.since(tok.Since), cmp.Or(tok.Reason, "the time for it has come"))
		t.next(tok.NextTry, "")
	case "stale":
		t.stale(tok)
	case "refused":
		t.say(true, "The cloud has refused to renew the token%s: %s", t.since(tok.Since), cmp.Or(tok.LastError, tok.Reason))
		t.say(s.Identity.Advice != "", "%s", s.Identity.Advice)
		t.say(true, "The token itself stays in use, and nothing is changed meanwhile")
		t.next(tok.NextTry, ", seldom, because only a person or the cloud can mend this; renew asks at once")
		t.noReturn(tok)
	case "expired":
		t.lost(tok)
	default:
		t.say(true, "The state of the token is not known yet")
	}
	t.stored(s)
	t.say(s.Clock.Source == "floor" && tok.State != "none",
		"The system's clock cannot be right, and the cloud's has not been heard yet: until then these times are guesses")
	return t.said
}

func (t *story) unprovisioned(s local.Status) {
	t.say(true, "The device has had no token%s: %s", t.since(s.Token.Since), cmp.Or(s.Identity.Error, "none has been found yet"))
	t.say(s.Identity.File != "", "The agent watches %s and takes a token from it within seconds of its being written", s.Identity.File)
	t.say(true, "Or bring one: %s adopt -", Name)
}

func (t *story) valid(tok local.Token) {
	t.say(tok.Expires.IsZero(), "The token is in use%s; it names no expiry, so the cloud alone judges it", t.since(tok.Since))
	t.say(!tok.Expires.IsZero(), "The token is valid until %s", t.at(tok.Expires))
	t.say(!tok.LastRenewal.IsZero(), "It was renewed at %s", t.at(tok.LastRenewal))
	t.say(tok.LastRenewal.IsZero() && !tok.Issued.IsZero(), "It was issued at %s", t.at(tok.Issued))
	t.say(!tok.WindowOpens.IsZero(), "The cloud renews it from %s on, and this device asks first at %s, a moment drawn for this token so that a fleet does not come at once",
		t.at(tok.WindowOpens), t.at(tok.RenewAt))
	t.say(tok.Expires.IsZero() && !tok.NextTry.IsZero(), "The cloud is asked for a new one at %s", t.at(tok.NextTry))
	t.say(!tok.PointOfNoReturn.IsZero(), "If no attempt succeeded, it could not be renewed any more after %s", t.at(tok.PointOfNoReturn))
}

func (t *story) stale(tok local.Token) {
	last := ""
	if !tok.LastErrorAt.IsZero() {
		last = ", the last at " + t.at(tok.LastErrorAt)
	}
	t.say(true, "The token has not been renewed in %s%s: %s", countOf(tok.Attempt, "attempt"), last, cmp.Or(tok.LastError, tok.Reason))
	t.say(!tok.Expires.IsZero() && tok.Expires.After(t.now), "It is used as before, and expires at %s", t.at(tok.Expires))
	t.say(!tok.Expires.IsZero() && !tok.Expires.After(t.now), "It expired at %s; the cloud still renews it", t.at(tok.Expires))
	t.next(tok.NextTry, "")
	t.noReturn(tok)
}

// noReturn says how much time is left.
func (t *story) noReturn(tok local.Token) {
	when := tok.PointOfNoReturn
	t.say(when.After(t.now), "The cloud renews it until %s; %.0f %% of the time for that is over", t.at(when), 100*tok.Spent)
	t.say(!when.IsZero() && !when.After(t.now), "The cloud renewed it until %s: %s", t.at(when), adoptHint)
}

func (t *story) lost(tok local.Token) {
	t.say(!tok.PointOfNoReturn.IsZero(), "The token cannot be renewed any more: it expired at %s and the cloud renewed it until %s", t.at(tok.Expires), t.at(tok.PointOfNoReturn))
	t.say(tok.PointOfNoReturn.IsZero(), "The token cannot be renewed any more%s", t.since(tok.Since))
	t.say(tok.LastError != "", "%s failed, the last at %s: %s", countOf(tok.Attempt, "attempt"), t.at(tok.LastErrorAt), tok.LastError)
	t.say(true, "Now %s", adoptHint)
	t.next(tok.NextTry, ", for the cloud may have been told to be lenient")
}

// stored tells where the token is missing.
func (t *story) stored(s local.Status) {
	place := s.Token.Stored
	t.say(!place.State, "It is in memory alone and would be lost with the power, because the state directory does not take it: %s",
		cmp.Or(place.Error, "no reason is known"))
	t.say(place.State && !place.IdentityFile, "%s does not hold it, so other programs that read that file have an older one: %s",
		cmp.Or(s.Identity.File, "the identity file"), cmp.Or(place.Error, s.Identity.Error, "no reason is known"))
}
