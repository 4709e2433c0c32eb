// Package collect follows log files that other programs write and rotate, and
// makes data files of what is written to them, each line once.
//
// # Which file is which
//
// A file is known by its inode and by prints of its first and its last bytes
// when it was seen last. So it is the same one under another name, and another
// one under the same name or with an inode's number that was given away again.
//
// Rotation by renaming: the file is read to its end under its new name, or
// without any, for it is kept open; then comes the one in its place. Rotations
// that nobody saw, as while the agent was not running, are read as well, the
// oldest first, while they are there and not compressed: files in the same
// directory whose names begin with the name and "." or "-", and which are newer.
//
// Rotation by copying and truncating: when a file is found shortened, or other
// than it was, its copy is looked for among the files of its directory, and read
// on from where the reading had come to. Lost is what was written after the copy
// was made and before the truncation, which no one can read, and without a copy
// that is left uncompressed what was written since the last look.
//
// # What is read once
//
// Lines are put into the queue with the word of how far that is in which file,
// but are not sent yet. Then the positions become durable, then the lines may be
// sent. A crash in between is healed at the next start by the words in the queue.
package collect

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// A Source is files that are followed for one purpose.
type Source struct {
	Name   string
	Type   string // of the data files
	Module string // key; may be empty
	Files  []string
	Every  time.Duration // how long lines wait at most
	Size   int64         // how many bytes wait at most; no data file is larger, unless a single line is
}

// A Queue is where data files wait to be sent.
type Queue interface {
	// Stage puts a data file into the queue, durably, to be sent only once it is
	// released.
	Stage(ctx context.Context, typ, module, name, origin string, r io.Reader) (id string, err error)
	// Staged returns the origins of what was staged and not released, by id, in
	// this life or an earlier one.
	Staged() (map[string]string, error)
	Release(ids ...string)
	// Discard takes back what was staged.
	Discard(id string) error
}

// A Collector follows the files of its sources. Its fields are set before Run.
type Collector struct {
	Sources []Source
	State   string // the file of the positions; its directory exists
	Queue   Queue

	FS  atomicfile.FS // atomicfile.OS if nil
	Log *slog.Logger  // slog.Default if nil

	uid        int
	watch      func() (notifier, error)
	open       int // files that are held open
	state      state
	saved      bool                 // no file was taken up or given up since state was saved
	due        map[string]time.Time // of each source
	resting    map[string]rest      // the sources for which the queue has no room
	unreleased []string             // ids of what was staged since
	sources    map[string]*SourceStatus
	status     latest.Value[Status]
}

// A Status is what a Collector is doing.
type Status struct{ Sources []SourceStatus }

// A SourceStatus tells of one source. The counters begin with Run.
type SourceStatus struct {
	Name      string
	Type      string
	Files     int   // that are followed
	Behind    int64 // bytes that are in no data file yet
	Collected int   // data files
	Truncated int   // files that were found shortened
	Lost      int64 // bytes that were seen and could not be read any more
	Error     string
}

const (
	lookMost = time.Minute            // between two looks
	lookSoon = 250 * time.Millisecond // the same when files come and go
)

// Status returns the state in force, and a channel that is closed when it
// changes.
func (c *Collector) Status() (Status, <-chan struct{}) {
	s, _, changed := c.status.Get()
	return s, changed
}

// Run follows the files until ctx is done. It is called once. What was staged
// in an earlier life it releases even if no files are to be followed any more.
func (c *Collector) Run(ctx context.Context) error {
	c.setDefaults()
	defer c.closeFiles()
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := c.recover()
		if err == nil {
			break
		}
		c.Log.Warn("collected files cannot be gone on with", "err", err, "retry_in", wait)
		c.failed(err)
		if !sleep(ctx, wait+time.Duration(rand.Int64N(int64(wait)))) {
			return nil
		}
	}
	if len(c.Sources) == 0 {
		<-ctx.Done()
		return nil
	}
	w, err := c.watch()
	if err != nil {
		c.Log.Warn("directories of collected files are not watched, only looked at from time to time", "err", err)
		w = deaf{}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.run(ctx) })
	g.Go(func() error { return c.follow(ctx, w) })
	return g.Wait()
}

// follow looks at the files when it is time, or when some come or go.
func (c *Collector) follow(ctx context.Context, w notifier) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.news():
			if soon := time.Now().Add(lookSoon); soon.Before(next) {
				next = soon
				timer.Reset(lookSoon)
			}
			continue
		case <-timer.C:
		}
		wait := c.pass(ctx, time.Now(), w)
		next = time.Now().Add(wait)
		timer.Reset(wait)
	}
}

func (c *Collector) setDefaults() {
	if c.FS == nil {
		c.FS = atomicfile.OS{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.watch == nil {
		c.watch = newInotify
	}
	c.uid = os.Geteuid()
	c.due, c.resting = map[string]time.Time{}, map[string]rest{}
	c.sources = map[string]*SourceStatus{}
	for _, s := range c.Sources {
		c.sources[s.Name] = &SourceStatus{Name: s.Name, Type: s.Type}
	}
}

// failed tells of what keeps all sources from being followed.
func (c *Collector) failed(err error) {
	for _, s := range c.sources {
		s.Error = err.Error()
	}
	c.publish()
}

// publish makes the status known.
func (c *Collector) publish() {
	var s Status
	for _, src := range c.Sources {
		s.Sources = append(s.Sources, *c.sources[src.Name])
	}
	c.status.Set(s)
}

// sleep waits for d and reports false when ctx ended it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
