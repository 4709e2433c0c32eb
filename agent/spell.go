package agent

import (
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
)

// spellDrift is how far two readings of the clocks may tell the same differently.
const spellDrift = 2 * time.Second

// A spell is the time that something has spent in its present state. It is
// counted as time elapsed since boot, so that neither a step of the clock nor a
// new generation changes it.
type spell struct {
	mu    sync.Mutex
	state string
	boot  time.Duration
	told  time.Time
}

// since notes state at r, now by the cloud's clock, and returns when it began.
// It is zero for no state, and the same each time unless the clocks have drifted
// apart.
func (s *spell) since(state string, r clock.Reading, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != s.state {
		s.state, s.boot, s.told = state, r.Boot, now
	}
	if state == "" {
		return time.Time{}
	}
	if began := now.Add(s.boot - r.Boot); began.Sub(s.told).Abs() > spellDrift {
		s.told = began
	}
	return s.told
}

// spells are the spells of several things, by their names.
type spells struct {
	mu  sync.Mutex
	all map[string]*spell
}

// of is the spell of one of them.
func (s *spells) of(name string) *spell {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]*spell{}
	}
	if s.all[name] == nil {
		s.all[name] = &spell{}
	}
	return s.all[name]
}
