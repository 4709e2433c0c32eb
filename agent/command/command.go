// Package command runs what a message under the topic ctrl/ asks for.
//
// A program runs without a shell, with the payload on its standard input and
// nothing of the agent's environment. There is no acknowledgement to the cloud:
// a dashboard learns the effect from what the device publishes.
package command

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bounds of what the cloud can set going.
const (
	DefaultTimeout = 60 * time.Second
	maxRunning     = 4  // programs at a time; of one command there is never more than one
	maxQueued      = 32 // messages that wait for their turn
)

// A Command is a program that a message runs.
type Command struct {
	Name     string
	Run      []string      // argv; empty: the file Name in Commands.Dir
	Timeout  time.Duration // DefaultTimeout if 0
	Retained bool          // run it also for a message that the broker had kept
}

// A Message is one message under ctrl/.
type Message struct {
	Name     string // what follows ctrl/
	Base     string // the topic base before it
	Payload  []byte // as it came; Decode unwraps it
	Retained bool   // the broker had kept it: it may be old
}

// Settings say what there is to run.
type Settings struct {
	Known []Command
	// Dir holds programs named as their commands, for those that Known does not
	// name or names without Run.
	Dir string
	// Builtin are the agent's own. They run inside Take, so they return soon,
	// and judge retained messages themselves.
	Builtin map[string]func(Message) error
}

// Commands takes messages and runs what they ask for: messages of one command
// in their order, different commands beside each other. Set its fields before
// Run; Follow brings other settings later.
type Commands struct {
	// Changed is called after each change of Status; may be nil.
	Changed func()
	Log     *slog.Logger

	mu       sync.Mutex
	settings Settings
	queue    []job
	running  map[string]time.Time // since when, by name
	status   Status
	bell     chan struct{}
	once     sync.Once
}

// A job is a message that waits for its program.
type job struct {
	Message
	argv    []string
	timeout time.Duration
}

// errRetained means that the broker had kept the message.
var errRetained = errors.New("the broker had kept the message, which may be old")

// Follow goes by s from now on. Programs that run are not disturbed, and end by
// the time limit that they began with. A message that waits runs what s says; if
// that is nothing it counts as one of no command.
func (c *Commands) Follow(s Settings) {
	c.mu.Lock()
	c.settings = s
	waiting := c.queue
	c.queue = nil
	c.mu.Unlock()
	for _, j := range waiting {
		j.Retained = false // whether it may run was decided when it came
		c.Take(j.Message)
	}
}

// Take queues what m asks for, or does it if it is built in. It never waits for
// a program.
func (c *Commands) Take(m Message) {
	log := c.Log.With("command", m.Name)
	c.mu.Lock()
	s := c.settings
	c.mu.Unlock()
	if do := s.Builtin[m.Name]; do != nil {
		err := do(m)
		c.note(func(s *Status) { s.finish(m.Name, err) })
		if err != nil {
			log.Warn("command not carried out", "bytes", len(m.Payload), "err", err)
		}
		return
	}
	j, retained, err := s.find(m)
	switch {
	case errors.Is(err, errUnknown):
		c.Unknown(m.Base+"/ctrl/"+m.Name, len(m.Payload))
		return
	case err != nil:
		c.note(func(s *Status) { s.finish(m.Name, err) })
		log.Warn("command not run", "err", err)
		return
	case m.Retained && !retained:
		c.note(func(s *Status) { s.Ignored++ })
		log.Info("command ignored", "bytes", len(m.Payload), "err", errRetained)
		return
	}
	c.mu.Lock()
	full := len(c.queue) >= maxQueued
	if full {
		c.status.Dropped++
	} else {
		c.queue = append(c.queue, j)
	}
	c.mu.Unlock()
	c.changed()
	if full {
		log.Warn("command dropped: too many wait", "bytes", len(m.Payload), "waiting", maxQueued)
		return
	}
	c.ring()
}

// Unknown counts a message that is no command here. Of its content only the
// size is told: nobody knows what is in it.
func (c *Commands) Unknown(topic string, bytes int) {
	c.note(func(s *Status) { s.Unknown++ })
	if len(topic) > maxTopic {
		topic = topic[:maxTopic] + "…"
	}
	c.Log.Info("command not known", "topic", topic, "bytes", bytes)
}

// Run runs programs until ctx is done; then those under way are ended, and what
// waits is forgotten.
func (c *Commands) Run(ctx context.Context) error {
	var g errgroup.Group
	defer func() { _ = g.Wait() }()
	for {
		for j, ok := c.next(); ok; j, ok = c.next() {
			g.Go(func() error {
				c.execute(ctx, j)
				return nil
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake():
		}
	}
}

// next takes the first message that may run now.
func (c *Commands) next() (job, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.running) >= maxRunning {
		return job{}, false
	}
	for i, j := range c.queue {
		if _, busy := c.running[j.Name]; busy {
			continue
		}
		c.queue = append(c.queue[:i:i], c.queue[i+1:]...)
		if c.running == nil {
			c.running = map[string]time.Time{}
		}
		c.running[j.Name] = time.Now()
		return j, true
	}
	return job{}, false
}

// execute runs one program and says how it ended.
func (c *Commands) execute(ctx context.Context, j job) {
	start := time.Now()
	c.changed()
	out, err := run(ctx, j)
	if ctx.Err() != nil && err != nil {
		err = errStopped
	}
	log := c.Log.With("command", j.Name, "after", time.Since(start).Round(time.Millisecond), "output", out.String())
	if err != nil {
		log.Warn("command failed", "err", err)
	} else {
		log.Info("command done")
	}
	c.mu.Lock()
	delete(c.running, j.Name)
	c.status.finish(j.Name, err)
	c.mu.Unlock()
	c.changed()
	c.ring()
}

// ring has Run look at the queue.
func (c *Commands) ring() {
	select {
	case c.wake() <- struct{}{}:
	default: // it will look anyway
	}
}

func (c *Commands) wake() chan struct{} {
	c.once.Do(func() { c.bell = make(chan struct{}, 1) })
	return c.bell
}
