// Package clock estimates the cloud's time on a device whose own clock may be
// wrong. Decisions are methods of State, a value; Clock keeps that value.
package clock

import (
	"log/slog"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// Trust is how far past the floor a system clock is believed. A floor is at
// least the build's date, and no build lives longer in the field.
const Trust = 10 * 365 * 24 * time.Hour

// saveEvery is how far the floor must have moved before it is written again, to
// spare the flash.
const saveEvery = 24 * time.Hour

// A State is what is known about the time. Its zero value knows nothing and
// believes the system clock from the zero time on.
type State struct {
	Floor  time.Time     `json:"floor"` // it is later than this
	Issued time.Time     `json:"-"`     // so is it if the token in use is right about itself
	Server time.Time     `json:"-"`     // the cloud's time at Boot of BootID; zero if not learned
	Boot   time.Duration `json:"-"`
	BootID string        `json:"-"`
	Doubts int           `json:"-"` // certificates whose time failed since the cloud was heard
}

// Learned reports whether the cloud's time has been heard since r's boot.
func (s State) Learned(r Reading) bool { return !s.Server.IsZero() && s.BootID == r.BootID }

// Now is the best estimate of the cloud's time at r. Once the cloud has been
// heard it counts elapsed time, in which suspend is included and steps of the
// system clock are not.
func (s State) Now(r Reading) time.Time {
	if s.Learned(r) {
		return s.Server.Add(r.Boot - s.Boot)
	}
	return s.System(r)
}

// System is the system clock where it can be true, between the floor and Trust
// later, and the floor where it cannot.
func (s State) System(r Reading) time.Time {
	if floor := s.floor(); r.Wall.Before(floor) || r.Wall.After(s.Floor.Add(Trust)) {
		return floor
	}
	return r.Wall
}

// floor is Floor, or Issued where that is later and can be true.
func (s State) floor() time.Time {
	if s.Issued.After(s.Floor) && s.Issued.Before(s.Floor.Add(Trust)) {
		return s.Issued
	}
	return s.Floor
}

// Heard is s after the cloud's date was read at r, rtt after asking.
func (s State) Heard(date time.Time, rtt time.Duration, r Reading) State {
	s.Server, s.Boot, s.BootID, s.Doubts = date.Add(rtt/2), r.Boot, r.BootID, 0
	return s.Later(date)
}

// Later is s with a floor of at least t.
func (s State) Later(t time.Time) State {
	if t.After(s.Floor) {
		s.Floor = t
	}
	return s
}

// A Clock keeps a State and its floor on disk. Set its fields before Load.
type Clock struct {
	Path  string         // the floor's record; "" keeps it in memory
	FS    atomicfile.FS  // atomicfile.OS if nil
	Read  func() Reading // Read if nil
	Built time.Time      // no time before the program was built is true
	Log   *slog.Logger

	mu    sync.Mutex
	state State
	saved time.Time // the floor on disk
}

// Load reads the floor. A record that is missing or corrupt leaves Built.
func (c *Clock) Load() {
	var s State
	if c.Path != "" {
		_, _ = atomicfile.LoadRecord(c.fs(), c.Path, &s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saved = s.Floor
	c.state = State{Floor: s.Floor}.Later(c.Built)
}

// Now is the best estimate of the cloud's time.
func (c *Clock) Now() time.Time {
	s, r := c.State()
	return s.Now(r)
}

// TLSTime is for tls.Config.Time, see State.TLS: a gateway that boots in 1970
// gets through the handshake.
func (c *Clock) TLSTime() time.Time {
	s, r := c.State()
	return s.TLS(r)
}

// Learned reports whether the cloud's time has been heard since the boot.
func (c *Clock) Learned() bool {
	s, r := c.State()
	return s.Learned(r)
}

// State is what is known, with a reading of the system's clocks.
func (c *Clock) State() (State, Reading) {
	r := c.reading()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, r
}

// Learn takes the Date of an answer over verified TLS, rtt after the request.
func (c *Clock) Learn(date time.Time, rtt time.Duration) {
	r := c.reading()
	c.update(func(s State) State { return s.Heard(date, rtt, r) })
}

// NotBefore takes the iat of the token in use. Nobody has checked it: it counts
// until the next one is told, goes to no disk, and is no time of the far future.
func (c *Clock) NotBefore(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Issued = t
}

func (c *Clock) update(f func(State) State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = f(c.state)
	if c.Path == "" || c.state.Floor.Sub(c.saved) < saveEvery {
		return
	}
	c.saved = c.state.Floor // also when saving fails: try again a day later
	if err := atomicfile.SaveRecord(c.fs(), c.Path, c.state); err != nil && c.Log != nil {
		c.Log.Warn("time floor not saved", "err", err)
	}
}

func (c *Clock) fs() atomicfile.FS {
	if c.FS == nil {
		return atomicfile.OS{}
	}
	return c.FS
}

func (c *Clock) reading() Reading {
	if c.Read == nil {
		return Read()
	}
	return c.Read()
}
