package command

import (
	"maps"
	"slices"
	"time"
)

// Status counts what became of the messages since the start.
type Status struct {
	Done    int // carried out, exit status 0
	Failed  int // not started, another exit status, or out of time
	Ignored int // retained, where the settings do not allow it
	Dropped int // too many waited
	Unknown int // no such command

	Running []string // names, sorted
	Queued  int

	Last      string    // name of the last one that ended
	LastAt    time.Time // when
	LastError string    // why it failed; empty if it did not
}

// finish counts a command that ended.
func (s *Status) finish(name string, err error) {
	s.Last, s.LastAt, s.LastError = name, time.Now(), ""
	if err == nil {
		s.Done++
		return
	}
	s.Failed++
	s.LastError = err.Error()
}

// Status returns what is known now.
func (c *Commands) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Running, s.Queued = slices.Sorted(maps.Keys(c.running)), len(c.queue)
	return s
}

func (c *Commands) note(change func(*Status)) {
	c.mu.Lock()
	change(&c.status)
	c.mu.Unlock()
	c.changed()
}

func (c *Commands) changed() {
	if c.Changed != nil {
		c.Changed()
	}
}
