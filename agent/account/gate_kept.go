package account

import (
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// keptFrom is how long a window must be closed for to be written down at once:
// shorter ones have passed when the agent is started again after a crash (its
// unit waits 5 s), and Save writes them when it ends in order.
const keptFrom = 4 * time.Second

// A closure is a closed window on disk.
type closure struct {
	At    time.Time `json:"at"`    // when it was written
	Opens time.Time `json:"opens"` // no request before
}

// Save writes down until when no request passes, if that is not over. Where the
// disk takes no writes, a restart forgets it.
func (g *Gate) Save() {
	opens := g.Closed()
	if g.Path == "" || opens.IsZero() {
		return
	}
	now := g.now()
	_ = atomicfile.SaveRecord(g.fs(), g.Path, closure{now, now.Add(time.Until(opens))})
}

// Restore closes the window for what is left of the time that Save wrote down.
// A clock that was set back meanwhile makes that no longer than it was then.
// Call it before the first request.
func (g *Gate) Restore() {
	var c closure
	if g.Path == "" {
		return
	}
	if _, err := atomicfile.LoadRecord(g.fs(), g.Path, &c); err != nil {
		return // there is none
	}
	left := min(c.Opens.Sub(g.now()), c.Opens.Sub(c.At), maxClosed)
	g.mu.Lock()
	defer g.mu.Unlock()
	if opens := time.Now().Add(left); left > 0 && opens.After(g.opens) {
		g.opens, g.alone = opens, true
	}
}

func (g *Gate) now() time.Time {
	if g.Now == nil {
		return time.Now()
	}
	return g.Now()
}

func (g *Gate) fs() atomicfile.FS {
	if g.FS == nil {
		return atomicfile.OS{}
	}
	return g.FS
}
