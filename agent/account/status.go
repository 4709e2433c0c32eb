package account

import (
	"fmt"
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
	Unproven    bool // the cloud has issued the token and not yet accepted it
	Last        Outcome
	LastAttempt time.Time
	LastRenewal time.Time
	LastError   string
	LastErrorAt time.Time
	Rejected    string // why the API or the broker refused the token in use
	NextTry     time.Time
	Attempts    int
	Renewals    int
	Failures    int    // in a row
	StoreError  string // why the token is not durable in the state directory
	FileError   string // what is wrong with the identity file
	WriteError  string // why the identity file does not hold the newest token
}

func (k *Keeper) publish(now, next time.Time) {
	s := k.st
	s.Token, s.Window, s.Unproven = k.slots.use(), k.window(), !k.slots.Next.IsZero()
	s.Last, s.Failures, s.NextTry = k.history.Last, k.history.Failures, next
	s.LastAttempt = k.history.At
	s.State, s.Reason = judge(now, s, k.history.Forced)
	k.st = s
	k.status.Set(s)
}

// judge puts a status into a word and a sentence.
func judge(now time.Time, s Status, forced bool) (State, string) {
	w := s.Window
	past := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case s.Token.IsZero() && s.FileError != "":
		return Unprovisioned, "no token: " + s.FileError
	case s.Token.IsZero():
		return Unprovisioned, "no token: the identity file has not been read yet"
	case past(w.Closes) && s.Failures > 0:
		return Lost, fmt.Sprintf("the cloud renewed the token until %s; now a person must write a new one into the identity file (last answer: %s)", stamp(w.Closes), s.LastError)
	case s.Last == Refused:
		return Rejected, "the cloud refuses to renew: " + s.LastError
	case s.Failures > 0 && s.Last == StillGood:
		return Failing, "the token is refused (" + s.Rejected + "), yet the cloud says that it needs no renewal"
	case s.Failures > 0:
		return Failing, fmt.Sprintf("attempt %d failed: %s", s.Failures, s.LastError)
	case forced:
		return Due, "the token was refused: " + s.Rejected
	case past(w.Due):
		return Due, "in the renewal window since " + stamp(w.Opens)
	case w.Due.IsZero():
		return Good, "the token names no expiry; the cloud is asked from time to time"
	}
	return Good, "renewal is due at " + stamp(w.Due)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
