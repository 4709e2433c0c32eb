package account

import (
	"context"
	"net/http"
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
// one by one: what is under way when the window closes would arrive in it.
type Gate struct {
	Limits profile.Limits
	Rand   func() float64 // for the wait beyond the reset, which has whole seconds

	Path string           // a file that keeps a closed window closed over a restart; none if empty
	FS   atomicfile.FS    // of Path; atomicfile.OS if nil
	Now  func() time.Time // by which Path counts; time.Now if nil

	mu     sync.Mutex
	opens  time.Time     // by the monotonic clock; no request before
	alone  bool          // one request at a time, since the window was used up
	busy   bool          // that one request is under way
	change chan struct{} // closed when a waiter should look again
}

// Acquire waits until a request may be sent. Each that was let through is
// followed by one call of Observe.
func (g *Gate) Acquire(ctx context.Context) error {
	for {
		g.mu.Lock()
		wait := time.Until(g.opens)
		single := g.alone || g.Limits.Spent
		if wait <= 0 && !(single && g.busy) {
			g.busy = single
			g.mu.Unlock()
			return nil
		}
		if g.change == nil {
			g.change = make(chan struct{})
		}
		change := g.change
		g.mu.Unlock()
		if wait <= 0 {
			wait = maxClosed // until the request under way has its answer
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-change:
			timer.Stop()
		case <-timer.C:
		}
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
	if g.change != nil {
		close(g.change)
		g.change = nil
	}
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
