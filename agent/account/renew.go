package account

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// finish is how long a login that is under way when the agent is stopped may
// take to end: its answer may be the only copy of the next token.
const finish = 5 * time.Second

// attempt asks the cloud once and acts on the answer.
func (k *Keeper) attempt(ctx context.Context) {
	tok := k.subject()
	k.st.Attempts++
	if k.Provider != nil {
		k.attemptStep(ctx, tok)
		return
	}
	raw, err := k.login(ctx, tok)
	k.ended()
	var fresh Token
	if err == nil && raw != "" {
		if fresh, err = ParseToken(raw, k.Names); err != nil {
			err = fmt.Errorf("the cloud's new token: %w", err)
		}
	}
	switch {
	case err != nil && ctx.Err() != nil: // we are stopping: this says nothing of the token
	case err != nil:
		k.failed(tok, err)
	case raw == "" || fresh.Same(tok):
		k.stillGood(tok)
	default:
		k.renewed(tok, fresh)
	}
	k.answer(err)
}

// attemptStep asks a provider once. What succeeds has been acted on by step.
func (k *Keeper) attemptStep(ctx context.Context, tok Token) {
	call, end := outlive(ctx)
	defer end()
	err := k.step(call)
	k.ended()
	if err != nil && ctx.Err() == nil {
		k.failed(tok, err)
	}
	k.answer(err)
}

// ended notes when an attempt has.
func (k *Keeper) ended() {
	k.attempted, k.urgent, k.nudged, k.wanted = time.Now(), false, false, false
	k.history.At, k.history.Jitter, k.history.Asked = k.now(), k.rand(), 0
}

// login lets a call that is under way when the agent is stopped end by itself,
// within a bound.
func (k *Keeper) login(ctx context.Context, tok Token) (string, error) {
	call, end := outlive(ctx)
	defer end()
	return k.Login(call, tok)
}

// outlive is a context that ends a bound after ctx; end releases it.
func outlive(ctx context.Context) (call context.Context, end func()) {
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(finish, cancel) })
	return call, func() { stop(); cancel() }
}

func (k *Keeper) failed(tok Token, err error) {
	var asked time.Duration
	k.history.Last, asked = outcome(err)
	k.history.Asked = asked
	k.history.Failures++
	k.st.LastError, k.st.LastErrorAt = err.Error(), k.history.At
	if k.Provider == nil && k.history.Last == Refused {
		k.refused(tok)
	}
	if errors.As(err, new(httpError)) && k.history.Last != None {
		k.turn++
	}
	k.Log.Warn("token not renewed", "err", err, "attempt", k.history.Failures, "token", tok)
}

// refused falls back to the token before the newest while that can still be
// renewed. Neither is dropped: a single refusal may be an error, and until the
// cloud has accepted one of them, each may be the only one that lives.
func (k *Keeper) refused(tok Token) {
	switch {
	case tok.Same(k.foreign):
		if !k.doubtful && !k.stuck() {
			k.history.Failures, k.history.Last = 0, None // ours is asked for when it is due
		}
		k.doubtful = true
		k.st.FileError = "the cloud refuses the token in the identity file"
	case tok.Same(k.slots.Next) && !k.slots.Cur.IsZero() && !past(k.now(), k.Schedule.Window(k.slots.Cur).Closes):
		k.Log.Warn("new token refused, falling back to the one before", "token", tok)
		k.slots.Cur, k.slots.Next = k.slots.Next, k.slots.Cur
		if !k.refusedOurs { // the one before is asked for at once, the two in turn not
			k.history.Failures, k.history.Last, k.history.Forced = 0, None, true
		}
		k.refusedOurs = true
		k.keep()
		k.announce(k.slots.use())
	default:
		k.refusedOurs = true
	}
}

func (k *Keeper) stillGood(tok Token) {
	k.turn, k.refusedOurs = 0, false
	k.history.Last = StillGood
	if k.history.Forced { // the API or the broker refuses what the login accepts
		k.history.Failures++
	} else {
		k.history.Failures = 0
	}
	k.history.Forced = false
	if tok.Same(k.foreign) {
		k.adopt(tok)
	}
	k.prove(tok)
}

// renewed takes over fresh, which the cloud gave for old. What serves if fresh
// does not is old, since the cloud took it, or what lives longer than old.
func (k *Keeper) renewed(old, fresh Token) {
	if ours := k.slots.Cur; old.Same(k.foreign) && ours.Expires.After(old.Expires) {
		old = ours
	}
	k.settle()
	if k.rotate != nil {
		k.slots = k.rotate(k.slots, old, fresh)
	} else {
		k.slots = k.slots.renewed(old, fresh)
	}
	k.history.Last, k.history.Failures, k.history.Forced = Renewed, 0, false
	k.st.Renewals++
	k.st.LastRenewal, k.st.LastError = k.history.At, ""
	k.keep()
	k.writeBack(fresh)
	k.announce(fresh)
	k.Log.Info("token renewed", "token", fresh)
}

// settle forgets which tokens were in doubt.
func (k *Keeper) settle() {
	k.foreign, k.doubtful, k.refusedOurs, k.turn = Token{}, false, false, 0
}

// adopt takes over a token from the identity file that the cloud has accepted.
func (k *Keeper) adopt(tok Token) {
	k.slots = slots{Cur: tok, Seen: tok.digest()}
	k.settle()
	k.history.Failures = 0
	k.keep()
	k.announce(tok)
	k.Log.Info("token taken from the identity file", "token", tok)
}

func (k *Keeper) prove(tok Token) {
	if tok.Same(k.slots.Next) {
		k.slots = k.slots.proven(tok)
		k.keep()
	}
}

// keep stores the slots. Where that fails the agent goes on from memory.
func (k *Keeper) keep() {
	err := k.Store.save(k.slots)
	if err != nil && err.Error() != k.st.StoreError {
		k.Log.Error("token not stored", "err", err)
	}
	k.st.StoreError = text(err)
}

func (k *Keeper) writeBack(tok Token) {
	err := k.WriteBack(tok)
	if err != nil && err.Error() != k.st.WriteError {
		k.Log.Warn("token not written to the identity file", "err", err)
	}
	k.st.WriteError = text(err)
	if err != nil {
		return
	}
	k.slots.Seen = tok.digest()
	k.keep()
}

// repeat tries again, now and then, what the disk has refused: a full disk may
// have room by now, and the next renewal is days away.
func (k *Keeper) repeat() {
	tok := k.slots.use()
	failed := k.st.StoreError != "" || k.st.WriteError != ""
	if !failed || tok.IsZero() || k.unjudged() || time.Since(k.repeated) < Recheck {
		return
	}
	k.repeated = time.Now()
	if k.st.StoreError != "" {
		k.keep()
	}
	if k.st.WriteError != "" && k.st.FileError == "" && k.foreign.IsZero() { // else somebody may be at it
		k.writeBack(tok)
	}
}
