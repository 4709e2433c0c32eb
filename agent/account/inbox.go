package account

import (
	"context"
	"errors"
	"sync"
)

// ErrNoToken means that there is no token to renew.
var ErrNoToken = errors.New("there is no token to renew: the device is not provisioned")

// An inbox holds what others have told the Keeper until Run looks. Only the
// newest of each kind counts, so that it is bounded.
type inbox struct {
	mu       sync.Mutex
	offered  *offer
	proven   Token
	rejected Token
	why      error
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

// receive takes what has arrived.
func (k *Keeper) receive() {
	k.inbox.mu.Lock()
	offered, proven, rejected, why, waiting := k.inbox.offered, k.inbox.proven, k.inbox.rejected, k.inbox.why, k.inbox.waiting
	k.inbox.offered, k.inbox.proven, k.inbox.rejected, k.inbox.why, k.inbox.waiting = nil, Token{}, Token{}, nil, nil
	k.inbox.mu.Unlock()
	if offered != nil {
		k.consider(*offered)
	}
	if use := k.slots.use(); !use.IsZero() {
		if proven.Same(use) {
			k.accepted(use)
		}
		if rejected.Same(use) {
			k.history.Forced = true
			k.st.Rejected = text(why)
		}
	}
	k.waiting = append(k.waiting, waiting...)
	if len(k.waiting) == 0 {
		return
	}
	if k.subject().IsZero() {
		k.answer(ErrNoToken)
		return
	}
	k.urgent = true
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
	switch {
	case err != nil:
		k.st.FileError = "token in the identity file: " + err.Error()
	case k.slots.use().IsZero():
		k.adopt(tok)
	case tok.Same(k.slots.use()):
		k.foreign = Token{}
		if d := tok.digest(); k.slots.Seen != d {
			k.slots.Seen = d
			k.keep()
		}
	case tok.digest() == k.slots.Seen || k.slots.has(tok): // left behind when a write back failed
		k.writeBack(k.slots.use())
	default:
		k.foreign = tok
		k.history.Failures, k.history.Last = 0, None // what the cloud said of others does not concern it
	}
}

// accepted notes that the cloud takes the token in use.
func (k *Keeper) accepted(tok Token) {
	k.history.Forced, k.st.Rejected = false, ""
	k.prove(tok)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
