package account

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrNoToken means that there is no token to renew.
var ErrNoToken = errors.New("there is no token to renew: the device is not provisioned")

// correctGap is between two corrections of the identity file.
const correctGap = time.Hour

// An inbox holds what others have told the Keeper until Run looks. Only the
// newest of each kind counts, so that it is bounded.
type inbox struct {
	mu       sync.Mutex
	offered  *offer
	proven   Token
	rejected Token
	why      error
	nudged   bool
	wanted   time.Duration // a caller waits for a token that is valid for so long; 0 if none
	brought  *granted      // by a login of a person
	waiting  []chan<- error
	bell     chan struct{}
}

// An offer is what the identity file holds: a token, or why there is none.
type offer struct {
	raw     string
	problem error
}

// arrived returns a channel that has a value when there is something new.
func (in *inbox) arrived() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ring()
}

func (in *inbox) ring() chan struct{} {
	if in.bell == nil {
		in.bell = make(chan struct{}, 1)
	}
	return in.bell
}

func (in *inbox) put(f func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	f()
	select {
	case in.ring() <- struct{}{}:
	default:
	}
}

// Offer tells the Keeper what the identity file holds: a token, or the reason
// why there is none.
func (k *Keeper) Offer(raw string, problem error) {
	k.inbox.put(func() { k.inbox.offered = &offer{raw, problem} })
}

// Reject reports that the API or the broker refused tok for the reason why. The
// Keeper asks the cloud, which alone can judge. A report about a token that has
// been superseded changes nothing.
func (k *Keeper) Reject(tok Token, why error) {
	k.inbox.put(func() { k.inbox.rejected, k.inbox.why = tok, why })
}

// Prove reports that the API or the broker accepted tok.
func (k *Keeper) Prove(tok Token) {
	k.inbox.put(func() { k.inbox.proven = tok })
}

// Renew asks the cloud now and waits for the outcome. Callers that come at the
// same time share one attempt.
func (k *Keeper) Renew(ctx context.Context) error {
	done := make(chan error, 1)
	k.inbox.put(func() { k.inbox.waiting = append(k.inbox.waiting, done) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Nudge reports that the network came back: where the cloud could not be
// reached it is tried again now, five seconds after the last time at the
// earliest.
func (k *Keeper) Nudge() {
	k.inbox.put(func() { k.inbox.nudged = true })
}

// want reports that a caller waits for a token that is valid for least.
func (k *Keeper) want(least time.Duration) {
	k.inbox.put(func() { k.inbox.wanted = max(k.inbox.wanted, least, 1) })
}

// receive takes what has arrived.
func (k *Keeper) receive() {
	k.inbox.mu.Lock()
	offered, proven, rejected, why, waiting := k.inbox.offered, k.inbox.proven, k.inbox.rejected, k.inbox.why, k.inbox.waiting
	nudged := k.inbox.nudged
	k.inbox.offered, k.inbox.proven, k.inbox.rejected, k.inbox.why, k.inbox.waiting = nil, Token{}, Token{}, nil, nil
	wanted := k.inbox.wanted
	brought := k.inbox.brought
	k.inbox.nudged, k.inbox.wanted, k.inbox.brought = false, 0, nil
	k.inbox.mu.Unlock()
	if brought != nil {
		k.takeBrought(*brought)
	}
	k.wanted = wanted > 0 && !k.lasts(k.slots.use(), wanted)
	k.nudged = k.nudged || nudged && k.history.Last == Unreachable && k.history.Failures > 0
	if offered != nil {
		k.consider(*offered)
	}
	if use := k.slots.use(); !use.IsZero() {
		if proven.Same(use) {
			k.accepted(use)
		}
		if rejected.Same(use) && !k.settled(use) {
			k.history.Forced = true
			k.st.Rejected = text(why)
			k.sessionEnded(k.st.Rejected)
		}
	}
	k.waiting = append(k.waiting, waiting...)
	if len(k.waiting) == 0 {
		return
	}
	if k.Provider == nil && k.subject().IsZero() {
		k.answer(ErrNoToken)
		return
	}
	k.urgent = true
}

// settled reports whether the cloud has just said that tok is good: what was
// refused lacks a permission, and asking once more tells nothing.
func (k *Keeper) settled(tok Token) bool {
	return tok.Same(k.judged) && time.Since(k.judgedAt) < Recheck
}

// answer gives the outcome to all who asked before the attempt or during it.
func (k *Keeper) answer(err error) {
	k.inbox.mu.Lock()
	waiting := append(k.waiting, k.inbox.waiting...)
	k.waiting, k.inbox.waiting = nil, nil
	k.inbox.mu.Unlock()
	for _, w := range waiting {
		w <- err
	}
}

// consider compares what the identity file holds with what we know.
func (k *Keeper) consider(o offer) {
	k.st.FileError = text(o.problem)
	if o.problem != nil {
		return
	}
	tok, err := ParseToken(o.raw, k.Names)
	newer := tok.Expires.After(k.slots.use().Expires)
	switch {
	case err != nil:
		k.st.FileError = "token in the identity file: " + err.Error()
	case k.slots.use().IsZero():
		k.adopt(tok)
	case tok.Same(k.slots.use()):
		k.foreign, k.doubtful = Token{}, false
		if d := tok.digest(); k.slots.Seen != d {
			k.slots.Seen = d
			k.keep()
		}
	case newer && k.slots.has(tok): // the cloud has yet to say which of ours it takes
	case !newer && (tok.digest() == k.slots.Seen || k.slots.has(tok) || k.outdated(tok)): // left behind when a write back failed, or restored
		k.correct()
	default:
		k.foreign, k.doubtful, k.turn = tok, false, 0
		k.history.Failures, k.history.Last = 0, None // what the cloud said of others does not concern it
	}
}

// outdated reports whether tok is an older one of this device than a token that
// serves: it wins nothing, and might take its place.
func (k *Keeper) outdated(tok Token) bool {
	use := k.slots.use()
	serves := k.history.Last != Refused && !k.history.Forced && !k.lost()
	return serves && tok.DeviceID == use.DeviceID && !tok.Expires.IsZero() && tok.Expires.Before(use.Expires)
}

// correct puts the token in use back into the identity file, where another
// program wrote an old one. If that does so again and again, it prevails.
func (k *Keeper) correct() {
	k.foreign, k.doubtful = Token{}, false
	if !k.corrected.IsZero() && time.Since(k.corrected) < correctGap {
		return
	}
	if k.writeBack(k.slots.use()); k.st.WriteError == "" {
		k.corrected = time.Now()
	}
}

// accepted notes that the cloud takes the token in use.
func (k *Keeper) accepted(tok Token) {
	k.history.Forced, k.st.Rejected, k.refusedOurs, k.history.Barren = false, "", false, 0
	k.prove(tok)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
