package account

import "time"

// A Schedule decides when the cloud is asked for a new token. It does no I/O
// and reads no clock; every time is the cloud's.
type Schedule struct {
	RenewBefore time.Duration // the cloud renews a token only so long before its expiry …
	Grace       time.Duration // … and so long after it
	Spread      time.Duration // renewals of a fleet are spread over so much of the window
}

// DefaultSchedule is Spoke Zone's: 12 h before and after the expiry of a token
// that lives for 7 days (docs.spoke.zone, "Access Tokens" and "Device Token
// Renewal").
var DefaultSchedule = Schedule{RenewBefore: 12 * time.Hour, Grace: 12 * time.Hour, Spread: 4 * time.Hour}

// A Window is the part of a token's life in which the cloud renews it. All
// fields are zero for a token that names no expiry.
type Window struct {
	Opens   time.Time
	Due     time.Time // when this device asks first
	Expires time.Time
	Closes  time.Time // the point of no return: afterwards a person must re-provision the device
}

// Window is where tok can be renewed. For a token that lives shorter than
// RenewBefore the window opens at half of its life.
func (s Schedule) Window(tok Token) Window {
	if tok.Expires.IsZero() {
		return Window{}
	}
	before := s.RenewBefore
	if life := tok.Expires.Sub(tok.Issued); !tok.Issued.IsZero() && life > 0 {
		before = min(before, life/2)
	}
	w := Window{Opens: tok.Expires.Add(-before), Expires: tok.Expires, Closes: tok.Expires.Add(s.Grace)}
	w.Due = w.Opens.Add(time.Duration(tok.Draw() * float64(min(s.Spread, before/2))))
	return w
}

// An Outcome is how an attempt to renew ended.
type Outcome string

// The outcomes of an attempt.
const (
	None        Outcome = ""            // nothing was tried yet
	Renewed     Outcome = "renewed"     // a new token came
	StillGood   Outcome = "still good"  // the cloud says that the token needs no renewal yet
	Unreachable Outcome = "unreachable" // no answer, or none that makes sense
	Limited     Outcome = "limited"     // the cloud asks for patience (429, 503)
	Refused     Outcome = "refused"     // the cloud refuses the token or the device's identity
)

// A History is what the next attempt depends on.
type History struct {
	Last     Outcome
	At       time.Time     // when the last attempt ended
	Failures int           // attempts in a row that brought no answer to act on
	Asked    time.Duration // how long the cloud asked to wait
	Forced   bool          // a refusal by the API or the broker, or a person, asks for renewal now
	Jitter   float64       // in [0,1), drawn once for the wait after the last attempt
}

// Bounds of the waits between two attempts.
const (
	minGap       = time.Second
	firstBackoff = 15 * time.Second
	maxBackoff   = 15 * time.Minute
	maxAsked     = 6 * time.Hour
	slowFirst    = 15 * time.Minute // at least, after a refusal, which only a person or the cloud mends
	slowMax      = 6 * time.Hour    // at most
	askAgain     = 10 * time.Minute // after "still good"
)

// Next is when to ask the cloud, never less than a second after the last time.
func (s Schedule) Next(now time.Time, w Window, h History) time.Time {
	if h.Last == None {
		if h.Forced || w.Due.IsZero() {
			return now // without an expiry the server alone knows how long it is good for
		}
		return w.Due
	}
	earliest := h.At.Add(s.gap(now, w, h))
	switch {
	case h.Forced:
		return earliest
	case w.Due.IsZero() && (h.Last == Renewed || h.Last == StillGood):
		return later(h.At.Add(s.RenewBefore), earliest)
	}
	return later(w.Due, earliest)
}

// gap is the wait after the last attempt: capped first and randomised then, so
// that a fleet that failed together does not come back together.
func (s Schedule) gap(now time.Time, w Window, h History) time.Duration {
	var wait time.Duration
	switch {
	case h.Last == Refused:
		wait = double(slowFirst, h.Failures, slowMax*2/3)
		return wait + scale(wait/2, h.Jitter)
	case h.Last == Limited && h.Asked > 0:
		return min(max(h.Asked, minGap), maxAsked) + scale(firstBackoff, h.Jitter)
	case h.Failures > 0:
		wait = double(firstBackoff, h.Failures, maxBackoff)
	case h.Forced:
		return max(s.askAgain()/10, minGap)
	default:
		return s.askAgain()
	}
	switch left := w.Closes.Sub(now); {
	case w.Closes.IsZero():
	case left <= 0:
		wait = max(wait, slowFirst)
	default: // effort rises as the point of no return nears
		wait = min(wait, left/10)
	}
	return max(wait/2+scale(wait/2, h.Jitter), minGap)
}

// askAgain is the wait after "still good": our window and the cloud's differ,
// by a wrong clock or setting, and asking often changes nothing.
func (s Schedule) askAgain() time.Duration {
	return min(max(s.RenewBefore/72, minGap), askAgain)
}

// double is first, doubled with each failure after the first, at most limit.
func double(first time.Duration, failures int, limit time.Duration) time.Duration {
	return min(first<<min(max(failures-1, 0), 12), limit)
}

func scale(d time.Duration, u float64) time.Duration { return time.Duration(float64(d) * u) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
