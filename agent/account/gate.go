package account

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A Gate is the one rate limiter of an account, for the Keeper's own requests
// and for those of every local program. Once an answer says that the cloud's
// window is used up, no request passes until that is over; then they pass one
// by one until an answer tells that there is more. Where the profile's rule is
// that each answer decides on the next request (Limits.Spent), they always pass
// one by one: what is under way when the window closes would arrive in it. They
// pass in the order of their coming, so that no program keeps out another, after
// the Keeper's: those are few, and bring the token that all others need.
type Gate struct {
	Limits profile.Limits
	Rand   func() float64 // for the wait beyond the reset, which has whole seconds

	Path string           // a file that keeps a closed window closed over a restart; none if empty
	FS   atomicfile.FS    // of Path; atomicfile.OS if nil
	Now  func() time.Time // by which Path counts; time.Now if nil

	mu      sync.Mutex
	opens   time.Time       // by the monotonic clock; no request before
	alone   bool            // one request at a time, since the window was used up
	busy    bool            // that one request is under way
	waiting []chan struct{} // who waits, in the order of coming; a value in one has it look again
}

// Acquire waits until a program's request may be sent; who came first is let
// through first. Each that was let through is followed by one call of Observe.
// Its error is ctx's.
func (g *Gate) Acquire(ctx context.Context) error { return g.acquire(ctx, false) }

// acquire puts one that is urgent before all that wait.
func (g *Gate) acquire(ctx context.Context, urgent bool) error {
	turn := make(chan struct{}, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	place := len(g.waiting)
	if urgent {
		place = 0
	}
	g.waiting = slices.Insert(g.waiting, place, turn)
	defer g.leave(turn)
	for {
		first, single, wait := g.waiting[0] == turn, g.alone || g.Limits.Spent, time.Until(g.opens)
		if first && wait <= 0 && !(single && g.busy) {
			g.busy = single
			return nil
		}
		if !first || wait <= 0 {
			wait = maxClosed // until who is before has its turn, or its answer
		}
		if err := g.sleep(ctx, turn, wait); err != nil {
			return err
		}
	}
}

// sleep waits, unlocked, for the time or until turn has a value.
func (g *Gate) sleep(ctx context.Context, turn <-chan struct{}, wait time.Duration) error {
	g.mu.Unlock()
	defer g.mu.Lock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-turn:
	case <-timer.C:
	}
	return nil
}

// leave takes turn out of those that wait; the first of the others looks again.
func (g *Gate) leave(turn chan struct{}) {
	i := slices.Index(g.waiting, turn)
	g.waiting = slices.Delete(g.waiting, i, i+1)
	g.wake()
}

// wake has the first of those that wait look again.
func (g *Gate) wake() {
	if len(g.waiting) == 0 {
		return
	}
	select {
	case g.waiting[0] <- struct{}{}:
	default:
	}
}

// maxClosed bounds how long a gate is closed by one answer.
const maxClosed = time.Hour

// Observe takes note of the answer to a request, nil if there was none.
func (g *Gate) Observe(res *http.Response) {
	if g.observe(res) {
		g.Save()
	}
}

// observe reports whether the window is closed for so long now that a restart
// might fall into it.
func (g *Gate) observe(res *http.Response) (long bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = false
	if res != nil {
		if wait := g.Limits.Wait(res.StatusCode, res.Header, time.Now()); wait > 0 {
			g.alone = true
			if opens := time.Now().Add(wait + scale(jitter, g.rand())); opens.After(g.opens) {
				g.opens, long = opens, wait >= keptFrom
			}
		} else if !time.Now().Before(g.opens) {
			g.alone = false
		}
	}
	g.wake()
	return long
}

// jitter is how long after a reset the first request waits at most.
const jitter = 250 * time.Millisecond

func (g *Gate) rand() float64 {
	if g.Rand == nil {
		return 1
	}
	return g.Rand()
}

// Closed reports until when no request passes; the zero time if they do.
func (g *Gate) Closed() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Now().Before(g.opens) {
		return g.opens
	}
	return time.Time{}
}
