package account

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// Recheck bounds one sleep of a Keeper, so that a stepped clock or a suspend is
// noticed.
const Recheck = 5 * time.Minute

// LongestTurn bounds one turn of a Keeper's loop with a Provider, but for the
// Timeout of its calls, of which four may be slow: a sleep, and a renewal whose
// calls wait for the gate, some of them once for each time by which the cloud's
// certificate may be valid.
const LongestTurn = 20 * time.Minute

// A Keeper renews a token, stores each new one and announces it. Run owns its
// state; the other methods may be called from anywhere. Set its fields before
// Run.
type Keeper struct {
	// Login asks the cloud for a successor of tok. It returns "" when the cloud
	// gives none because tok is still good.
	Login func(ctx context.Context, tok Token) (string, error)
	// Provider makes the calls of another cloud's profile, in place of Login.
	Provider *Provider
	// WriteBack puts the token where other programs read it: the identity file.
	WriteBack func(Token) error
	Store     *Store
	Names     Names
	Schedule  Schedule
	Now       func() time.Time // the cloud's time; time.Now if nil
	// Known reports whether Now rests on what the cloud has said since the boot.
	// While it does not the cloud is asked, so that a wrong clock cannot hide
	// that a renewal is due. If nil, Now is right.
	Known     func() bool
	Rand      func() float64  // rand.Float64 if nil
	NotBefore func(time.Time) // told of each token's iat; may be nil
	Alive     func()          // called at each turn of the loop; may be nil
	Log       *slog.Logger

	tokens latest.Value[Token]
	status latest.Value[Status]
	inbox  inbox

	rotate func(s slots, old, fresh Token) slots // slots.renewed if nil

	// only Run touches these
	slots       slots
	foreign     Token // from the identity file, if it is another
	doubtful    bool  // the cloud has refused foreign
	refusedOurs bool  // and ours
	turn        int   // of the candidates
	history     History
	began       time.Time // when Run began
	spread      float64   // in [0,1): when to ask first while the time is not known
	attempted   time.Time // when the last attempt ended, by the monotonic clock
	repeated    time.Time // when what the disk had refused was tried again
	corrected   time.Time // when another's old token was last overwritten
	urgent      bool      // a person asked for an attempt now
	nudged      bool      // the network came back
	wanted      bool      // a caller waits for a token that lasts longer than ours
	windowOf    Token
	ours        Window // of windowOf
	st          Status // what publish does not compute
	published   Status
	moment      moment // of published
	warned      int    // of the thresholds, for published.Token
	waiting     []chan<- error

	// of a Provider
	spent    []string  // refresh tokens that the cloud has refused
	dead     string    // digest of the token of which the cloud has said so
	judged   Token     // the one of which it has said that it is good
	judgedAt time.Time // and when, by the monotonic clock
	retired  time.Time // when the cloud was last told that the new token is kept
}

// Current returns the token to present now and a channel that is closed when it
// has been superseded. It waits for the first one.
func (k *Keeper) Current(ctx context.Context) (Token, <-chan struct{}, error) {
	return k.tokens.Wait(ctx)
}

// Newest returns the token to present now, false while there is none, and a
// channel that is closed when that has changed.
func (k *Keeper) Newest() (tok Token, ok bool, changed <-chan struct{}) { return k.tokens.Get() }

// Status returns the state of the account and a channel that is closed when it
// changes.
func (k *Keeper) Status() (Status, <-chan struct{}) {
	s, _, changed := k.status.Get()
	return s, changed
}

// Run keeps the token valid until ctx is done. It never gives up.
func (k *Keeper) Run(ctx context.Context) error {
	k.start()
	for ctx.Err() == nil {
		if k.Alive != nil {
			k.Alive()
		}
		k.receive()
		k.repeat()
		now := k.now()
		next := k.next(now)
		k.publish(now, next)
		if wait := next.Sub(now); wait > 0 {
			k.sleep(ctx, min(wait, Recheck))
			continue
		}
		k.attempt(ctx)
	}
	return nil
}

// start takes up where the last run ended.
func (k *Keeper) start() {
	var err error
	k.began, k.spread = time.Now(), k.rand()
	if k.Provider != nil && k.Provider.Key != nil {
		return // the settings hold the key, and it may be another now
	}
	switch k.slots, err = k.Store.load(k.Names); {
	case errors.Is(err, errOthers):
		k.Log.Warn("tokens not taken up", "err", err)
	case err != nil:
		k.st.StoreError = err.Error()
		k.Log.Error("stored tokens not usable", "err", err)
	}
	if tok := k.slots.use(); !tok.IsZero() {
		k.announce(tok)
	}
}

// known reports whether Now is right.
func (k *Keeper) known() bool { return k.Known == nil || k.Known() }

// next is when to ask the cloud. The last attempt's age is elapsed time, so
// that a step of the clock neither delays the next one nor hastens it.
func (k *Keeper) next(now time.Time) time.Time {
	next := k.due(now)
	if k.Provider == nil {
		return next
	}
	if k.unkept() && k.standing().next() == byRetire { // what else it may be waits as long as failures make it
		next = earlier(next, later(now, now.Add(Recheck-time.Since(k.retired))))
	}
	if opens := k.Provider.Gate.Closed(); !opens.IsZero() {
		next = later(next, now.Add(time.Until(opens)))
	}
	return next
}

func (k *Keeper) due(now time.Time) time.Time {
	h := k.history
	h.Pressing = !k.known() || k.unjudged()
	switch {
	case k.Provider == nil && k.subject().IsZero():
		return now.Add(Recheck)
	case k.urgent:
		return later(now, k.notBefore(now, minGap))
	case k.nudged:
		return later(now, k.notBefore(now, nudgeGap))
	case k.ahead(now) && h.Failures == 0:
		return later(now, k.notBefore(now, wantGap))
	case k.wanted && h.Failures == 0 && (k.Provider != nil || past(now, k.window().Opens)):
		return later(now, k.notBefore(now, wantGap))
	case h.Last != None:
		h.At = now.Add(-time.Since(k.attempted))
		h.Forced = h.Forced || !k.foreign.IsZero() && (!k.doubtful || k.stuck())
		return k.Schedule.Next(now, k.window(), h)
	case h.Forced || k.unjudged():
		return later(now, k.notBefore(now, minGap))
	}
	due := k.Schedule.Next(now, k.window(), h)
	if h.Pressing && !k.subject().IsZero() { // spread, for a fleet may have its power back at once
		due = earlier(due, now.Add(scale(firstAsk, k.spread)-time.Since(k.began)))
	}
	return later(due, k.notBefore(now, minGap))
}

// ahead reports whether the token came later than now, by a clock that was
// wrong then: its end is of no use.
func (k *Keeper) ahead(now time.Time) bool {
	return k.Provider != nil && now.Before(k.slots.use().Issued.Add(-wantGap))
}

// notBefore keeps attempts apart.
func (k *Keeper) notBefore(now time.Time, gap time.Duration) time.Time {
	if k.attempted.IsZero() {
		return now
	}
	return now.Add(gap - time.Since(k.attempted))
}

func (k *Keeper) sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-k.inbox.arrived():
	case <-timer.C:
	}
}

func (k *Keeper) announce(tok Token) {
	if k.NotBefore != nil && !tok.Issued.IsZero() {
		k.NotBefore(tok.Issued)
	}
	k.tokens.Set(tok)
}

func (k *Keeper) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}
	return k.Now()
}

func (k *Keeper) rand() float64 {
	if k.Rand == nil {
		return rand.Float64()
	}
	return k.Rand()
}
