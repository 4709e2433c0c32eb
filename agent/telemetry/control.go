package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// A State is the level of diagnostics in force.
type State struct {
	Level
	Base  string    // the topic base under which it was asked for; empty if nothing was
	Until time.Time // when it falls back to normal; zero if it is normal
	Err   string    // why it would not survive a restart; empty if it would
}

// Quiet reports whether nothing but diagnostics may be published.
func (s State) Quiet() bool { return s.Level.Level == LevelDebugOnly }

// A Control keeps the level of diagnostics, across restarts and for no longer
// than Most. Set its fields before Load.
type Control struct {
	Path  string        // its record
	FS    atomicfile.FS // atomicfile.OS if nil
	Least time.Duration // the shortest interval of broadcasts
	Most  time.Duration // that a level is in force; LevelLasts if zero
	Now   func() time.Time
	Log   *slog.Logger

	mu    sync.Mutex
	kept  record
	state latest.Value[State]
}

// A record is what a Control keeps on disk.
type record struct {
	Level      string    `json:"level"`
	Broadcast  float64   `json:"broadcast_interval"` // seconds
	DebugLevel string    `json:"debug_level"`
	Base       string    `json:"base"`
	Until      time.Time `json:"until,omitzero"`
	// Seen are digests of the last message and of the last retained one: the
	// broker repeats that one at each subscription, and it must not prolong what
	// it once asked for.
	Seen [2]string `json:"seen"`
}

func (r record) state() State {
	s := State{Level: Level{r.Level, time.Duration(r.Broadcast * float64(time.Second)), r.DebugLevel}, Base: r.Base, Until: r.Until}
	if s.Level.Level == "" || r.Until.IsZero() {
		s.Level = normal
	}
	return s
}

// Load reads what was in force. A record that is damaged means normal.
func (c *Control) Load() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := atomicfile.LoadRecord(c.fs(), c.Path, &c.kept)
	if err != nil {
		c.kept = record{}
		if !errors.Is(err, fs.ErrNotExist) {
			c.Log.Warn("level of diagnostics lost, it is normal now", "err", err)
		}
	}
	c.state.Set(c.kept.state())
	c.expire()
}

// State returns the level in force and a channel that is closed when another
// one is.
func (c *Control) State() (State, <-chan struct{}) {
	s, ok, changed := c.state.Get()
	if !ok {
		s = State{Level: normal}
	}
	return s, changed
}

// Take does what a message to ctrl/diagnostics under base asks for. A retained
// one that was taken before does nothing.
func (c *Control) Take(base string, payload []byte, retained bool) error {
	l, err := ParseLevel(payload, c.Least)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(append([]byte(base+"\n"), payload...))
	seen := hex.EncodeToString(digest[:8])
	c.mu.Lock()
	defer c.mu.Unlock()
	if retained && slices.Contains(c.kept.Seen[:], seen) {
		return nil
	}
	next := record{Level: l.Level, Broadcast: l.Broadcast.Seconds(), DebugLevel: l.DebugLevel, Base: base, Seen: [2]string{seen, c.kept.Seen[1]}}
	if retained {
		next.Seen[1] = seen
	}
	if l != normal {
		next.Until = c.Now().Add(c.most())
	}
	c.put(next)
	c.Log.Info("level of diagnostics changed", "level", l.Level, "broadcast", l.Broadcast, "debug_level", l.DebugLevel, "until", next.Until)
	return nil
}

// Expire falls back to normal once the time is over. It returns how long that
// is from now; 0 when nothing is in force that ends.
func (c *Control) Expire() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expire()
}

// expire is Expire; the caller holds mu. A deadline farther away than any can
// be was made by a clock that was ahead.
func (c *Control) expire() time.Duration {
	if c.kept.Until.IsZero() {
		return 0
	}
	left := c.kept.Until.Sub(c.Now())
	next := c.kept
	switch {
	case left <= 0:
		left = 0
		next = record{Base: c.kept.Base, Seen: c.kept.Seen}
		c.Log.Info("level of diagnostics is normal again: its time is over")
	case left > c.most():
		left = c.most()
		next.Until = c.Now().Add(left)
	default:
		return left
	}
	c.put(next)
	return left
}

// put puts r in force, durably where the disk allows it. The caller holds mu.
func (c *Control) put(r record) {
	s := r.state()
	if err := atomicfile.SaveRecord(c.fs(), c.Path, r); err != nil {
		s.Err = err.Error()
		c.Log.Warn("level of diagnostics not stored", "err", err)
	}
	c.kept = r
	c.state.Set(s)
}

func (c *Control) most() time.Duration {
	if c.Most <= 0 {
		return LevelLasts
	}
	return c.Most
}

func (c *Control) fs() atomicfile.FS {
	if c.FS == nil {
		return atomicfile.OS{}
	}
	return c.FS
}

// checkEvery bounds the wait for a deadline: the clock by which it was set may
// be put right meanwhile, and timers stand still while the device sleeps.
const checkEvery = time.Hour

// Run falls back to normal in time, until ctx is done. While the level is
// normal it sleeps.
func (c *Control) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		_, changed := c.State()
		timer.Stop()
		if left := c.Expire(); left > 0 {
			timer.Reset(min(left, checkEvery))
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
	}
	return nil
}
