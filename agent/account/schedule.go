package account

import "time"

// A Schedule decides when the cloud is asked for a new token. It does no I/O
// and reads no clock; every time is the cloud's.
type Schedule struct {
	RenewBefore time.Duration // the cloud renews a token only so long before its expiry …
	Grace       time.Duration // … and so long after it
	Spread      time.Duration // renewals of a fleet are spread over so much of the window
	// Share, if not 0, is how much of a token's life passes before it is
	// renewed; the window then begins there and has no end.
	Share float64
}

// DefaultSchedule is Spoke Zone's: 12 h before and after the expiry of a token
// that lives for 7 days (docs.spoke.zone, "Access Tokens" and "Device Token
// Renewal"). A device that waits longer in the window than the spread may be
// switched off meanwhile until it is too late.
var DefaultSchedule = Schedule{RenewBefore: 12 * time.Hour, Grace: 12 * time.Hour, Spread: 5 * time.Minute}

// ShareSchedule is that of the clouds that renew at any time: at half of a
// token's life, since gateways lose their links for days.
var ShareSchedule = Schedule{RenewBefore: 6 * time.Hour, Share: 0.5}

// shareSpread is the part of a life over which a fleet's renewals are spread.
const shareSpread = 0.15

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
	if s.Share > 0 {
		life := max(0, tok.Expires.Sub(tok.Issued))
		opens := tok.Issued.Add(scale(life, s.Share))
		return Window{Opens: opens, Due: opens.Add(scale(life, shareSpread*tok.Draw())), Expires: tok.Expires}
	}
	before := s.RenewBefore
	if life := tok.Expires.Sub(tok.Issued); !tok.Issued.IsZero() && life > 0 {
		before = min(before, life/2)
	}
	w := Window{Opens: tok.Expires.Add(-before), Expires: tok.Expires, Closes: tok.Expires.Add(s.Grace)}
	w.Due = w.Opens.Add(time.Duration(tok.Draw() * float64(min(s.Spread, before/2))))
	return w
}

// spent is how much of the window is gone at now, 0 to 1.
func (w Window) spent(now time.Time) float64 {
	if w.Closes.IsZero() || !now.After(w.Opens) {
		return 0
	}
	return min(float64(now.Sub(w.Opens))/float64(w.Closes.Sub(w.Opens)), 1)
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
	Pressing bool          // the window may be open, whatever now says
	Barren   int           // renewals in a row whose tokens were refused, too
	Jitter   float64       // in [0,1), drawn once for the wait after the last attempt
}

// Bounds of the waits between two attempts.
const (
	minGap       = time.Second
	nudgeGap     = 5 * time.Second // when the network came back
	wantGap      = time.Minute     // when a caller waits for a token that lasts longer
	firstAsk     = 2 * time.Minute // at most, after the start, while the time is not known
	firstBackoff = 15 * time.Second
	maxBackoff   = 15 * time.Minute
	inWindow     = 5 * time.Minute // at most, while each chance may be the last
	maxAsked     = 6 * time.Hour
	slowFirst    = 15 * time.Minute // at least, after a refusal, which only a person or the cloud mends
	slowMax      = 6 * time.Hour    // at most
	maxBarren    = time.Hour        // at most, where each new token is refused
	askAgain     = 5 * time.Minute  // after "still good"
	renewGap     = 10 * time.Second // between renewals of tokens that live for minutes
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
	good := h.Last == Renewed || h.Last == StillGood
	switch {
	case h.Forced && now.Before(w.Due):
		return earlier(earliest, later(w.Due, h.At.Add(minGap)))
	case h.Forced:
		return earliest
	case good && h.Pressing: // the cloud names no date: its answers alone tell
		return later(h.At.Add(s.RenewBefore/12), earliest)
	case good && w.Due.IsZero():
		return later(h.At.Add(s.RenewBefore), earliest)
	case h.Pressing:
		return earliest
	case now.Before(w.Due): // what failed before it was due counts no longer
		return later(w.Due, h.At.Add(minGap))
	}
	return later(w.Due, earliest)
}

// gap is the wait after the last attempt: capped first and randomised then, so
// that a fleet that failed together does not come back together. In the window
// it is short after a refusal too: the cloud may have been wrong.
func (s Schedule) gap(now time.Time, w Window, h History) time.Duration {
	end := w.Closes
	if s.Share > 0 {
		end = w.Expires
	}
	left := end.Sub(now)
	open := h.Pressing || !w.Due.IsZero() && !now.Before(w.Due) && (left > 0 || s.Share > 0)
	var wait time.Duration
	switch {
	case h.Last == Limited && h.Asked > 0:
		wait = min(h.Asked, maxAsked)
		if left > 0 && s.Share == 0 { // zero and less where there is nothing to lose
			wait = min(wait, left/4)
		}
		return max(wait, minGap) + scale(firstBackoff, h.Jitter)
	case h.Last == Refused && open && s.Share == 0: // a password that is refused often is locked
		wait = inWindow
	case h.Last == Refused:
		wait = double(slowFirst, h.Failures, slowMax*2/3)
		return wait + scale(wait/2, h.Jitter)
	case h.Failures > 0:
		wait = double(firstBackoff, h.Failures, maxBackoff)
	case h.Forced:
		return double(max(s.askAgain()/5, minGap), 1+h.Barren, maxBarren)
	case h.Last == Renewed && s.Share > 0: // the new token has a window of its own, however short its life
		return min(s.askAgain(), max(renewGap, w.Expires.Sub(w.Opens)/5))
	default:
		return s.askAgain()
	}
	switch {
	case open && left > 0: // effort rises as the point of no return nears
		wait = min(wait, inWindow, left/10)
	case open:
		wait = min(wait, inWindow)
	case !w.Closes.IsZero() && left <= 0:
		wait = max(wait, slowFirst)
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

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
