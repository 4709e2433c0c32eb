package account

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// A State is where an account stands.
type State string

// The states of an account.
const (
	Unprovisioned State = "unprovisioned" // there is no token
	Good          State = "good"          // the token is used and its renewal is not due
	Due           State = "due"           // the cloud has been or is being asked for a new one
	Failing       State = "failing"       // it was asked and gave none; the token is still used
	Rejected      State = "refused"       // the cloud refuses the token or the device's identity
	Lost          State = "lost"          // past the point of no return: a person must re-provision
)

// A Status is what a person needs to know about an account. It holds no secret.
type Status struct {
	State       State
	Reason      string // a sentence
	Token       Token
	Window      Window
	Spent       float64 // of the way from the window's opening to the point of no return, 0 to 1
	Unproven    bool    // the cloud has issued the token and not yet accepted it
	Last        Outcome
	LastAttempt time.Time
	LastRenewal time.Time
	LastError   string
	LastErrorAt time.Time
	Rejected    string // why the API or the broker refused the token in use
	NextTry     time.Time
	Attempts    int
	Renewals    int
	Logins      int    // renewals among them that took the secrets
	Short       string // what was asked for and the token does not permit
	NeedsLogin  bool   // nothing but a person gets the next token
	Failures    int    // in a row
	StoreError  string // why the token is not durable in the state directory
	FileError   string // what is wrong with the identity file
	WriteError  string // why the identity file does not hold the newest token
}

// publish replaces the status if it has changed.
func (k *Keeper) publish(now, next time.Time) {
	s, w := k.st, k.ourWindow()
	s.Token, s.Window, s.Unproven = k.slots.use(), w, !k.slots.Next.IsZero()
	s.Last, s.Failures, s.NextTry = k.history.Last, k.history.Failures, next.Truncate(time.Second)
	s.LastAttempt, s.Spent = k.history.At, w.spent(now)
	s.State, s.Reason = k.published.State, k.published.Reason
	moment := moment{k.history.Forced, past(now, w.Due), past(now, w.Closes)}
	if s == k.published && moment == k.moment && s.State != "" {
		return
	}
	s.State, s.Reason = judge(now, s, k.history.Forced)
	if k.known() {
		k.warn(s)
	}
	k.published, k.moment = s, moment
	k.status.Set(s)
}

// A moment is what the state depends on beside the status.
type moment struct{ forced, due, closed bool }

func past(now, t time.Time) bool { return !t.IsZero() && !now.Before(t) }

// thresholds of Spent at which a person is warned, once each for a token.
var thresholds = []float64{0.50, 0.80, 0.95}

// warn says how much of the time in which the token can be renewed is gone.
func (k *Keeper) warn(s Status) {
	if !s.Token.Same(k.published.Token) {
		k.warned = 0
	}
	for k.warned < len(thresholds) && s.Spent >= thresholds[k.warned] {
		level := slog.LevelWarn
		if k.warned++; k.warned == len(thresholds) {
			level = slog.LevelError
		}
		if k.warned == len(thresholds) || s.Spent < thresholds[k.warned] { // of several passed at once the last
			k.Log.Log(context.Background(), level, "the token is close to the point of no return", "spent", fmt.Sprintf("%.0f%%", 100*s.Spent), "until", stamp(s.Window.Closes), "err", s.LastError)
		}
	}
}

// judge puts a status into a word and a sentence.
func judge(now time.Time, s Status, forced bool) (State, string) {
	w := s.Window
	switch {
	case s.NeedsLogin && (s.Token.IsZero() || past(now, s.Token.Expires)):
		return Lost, s.LastError
	case s.Token.IsZero() && s.Failures > 0:
		return Unprovisioned, fmt.Sprintf("no token: attempt %d failed: %s", s.Failures, s.LastError)
	case s.Token.IsZero() && s.FileError != "":
		return Unprovisioned, "no token: " + s.FileError
	case s.Token.IsZero():
		return Unprovisioned, "no token: the identity file has not been read yet"
	case past(now, w.Closes) && s.Failures > 0:
		return Lost, fmt.Sprintf("the cloud renewed the token until %s; now a person must write a new one into the identity file (last answer: %s)", stamp(w.Closes), s.LastError)
	case s.Last == Refused:
		return Rejected, "the cloud refuses to renew: " + s.LastError
	case s.Failures > 0 && s.Last == StillGood:
		return Failing, "the token is refused (" + s.Rejected + "), yet the cloud says that it needs no renewal"
	case s.Failures > 0:
		return Failing, fmt.Sprintf("attempt %d failed: %s", s.Failures, s.LastError)
	case forced:
		return Due, "the token was refused: " + s.Rejected
	case past(now, w.Due):
		return Due, "in the renewal window since " + stamp(w.Opens)
	case w.Due.IsZero():
		return Good, "the token names no expiry; the cloud is asked from time to time"
	}
	return Good, "renewal is due at " + stamp(w.Due)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
