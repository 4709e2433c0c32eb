package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A statusError is an answer of the cloud.
type statusError struct {
	status int
	after  time.Duration
}

func (e *statusError) Error() string             { return fmt.Sprintf("cloud says %d", e.status) }
func (e *statusError) HTTPStatus() int           { return e.status }
func (e *statusError) RetryAfter() time.Duration { return e.after }

var errLink0 = errors.New("connection reset")

// An entry is one data file at the cloud.
type entry struct {
	id, typ, module, name string
	data                  []byte
	puts                  int
}

// A cloud is a Sender that behaves: it remembers, and holds it against us when
// other contents come under an id.
type cloud struct {
	t *testing.T

	mu      sync.Mutex
	entries map[string]*entry
	order   []*entry // as their contents arrived
	creates int
	times   []time.Time // of the requests

	// creating and putting, if not nil, judge a request before it is carried
	// out and after. An error after means that the answer was lost.
	creating func(typ, module string) (before, after error)
	putting  func(e *entry, name string) (before, after error)
	dead     func() bool // the process is not there to hear
}

func newCloud(t *testing.T) *cloud { return &cloud{t: t, entries: map[string]*entry{}} }

var errDead = errors.New("process is dead")

func (c *cloud) CreateDataFile(ctx context.Context, typ, module string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil && c.dead() {
		return "", errDead
	}
	c.times = append(c.times, time.Now())
	var after error
	if c.creating != nil {
		var before error
		if before, after = c.creating(typ, module); before != nil {
			return "", before
		}
	}
	c.creates++
	e := &entry{id: fmt.Sprint(100 + c.creates), typ: typ, module: module}
	c.entries[e.id] = e
	return e.id, after
}

func (c *cloud) PutDataFile(ctx context.Context, id, name string, size int64, r io.Reader) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil && c.dead() {
		return errDead
	}
	c.times = append(c.times, time.Now())
	e := c.entries[id]
	if e == nil {
		return &statusError{status: 404}
	}
	var after error
	if c.putting != nil {
		var before error
		if before, after = c.putting(e, name); before != nil {
			_, _ = io.CopyN(io.Discard, r, size/2)
			return before
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(data) == 0 || int64(len(data)) != size {
		c.t.Errorf("data file %s: %d bytes, announced %d", id, len(data), size)
	}
	if e.puts++; e.puts > 1 && !bytes.Equal(e.data, data) {
		c.t.Errorf("data file %s: other contents under the same id", id)
	}
	if e.puts == 1 {
		e.data, e.name = data, name
		c.order = append(c.order, e)
	}
	return after
}

// registered returns how many data files there are, with contents or without.
func (c *cloud) registered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.creates
}

// names returns the names of what has arrived, in order.
func (c *cloud) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, e := range c.order {
		names = append(names, e.name)
	}
	return names
}

// change changes what creating and putting do, or what they look at.
func (c *cloud) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// arrived returns what has arrived, in order, as TYPE/MODULE/NAME=CONTENTS.
func (c *cloud) arrived() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var got []string
	for _, e := range c.order {
		got = append(got, fmt.Sprintf("%s/%s/%s=%s", e.typ, e.module, e.name, e.data))
	}
	return got
}

// A bench is an Uploader on directories of its own, for use in a bubble.
type bench struct {
	*Uploader
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
}

// errNoInotify makes an Uploader look for files from time to time: the kernel's
// events would come from outside the bubble.
var errNoInotify = errors.New("too many open files")

// newBench returns an Uploader that is not running yet.
func newBench(t *testing.T, dir string, s Sender) *bench {
	b := &bench{t: t, Uploader: &Uploader{
		Dir: filepath.Join(dir, "drop"), State: filepath.Join(dir, "state"), Sender: s,
		Log: slog.New(slog.DiscardHandler), Rand: func() float64 { return 0.5 },
		seams: seams{watch: func() (*fsnotify.Watcher, error) { return nil, errNoInotify }},
	}}
	return b
}

func (b *bench) start() *bench {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.done = cancel, make(chan struct{})
	go func() {
		defer close(b.done)
		if err := b.Run(ctx); err != nil {
			b.t.Errorf("Run: %v", err)
		}
	}()
	return b
}

func (b *bench) stop() {
	b.cancel()
	<-b.done
}

// add spools a file.
func (b *bench) add(typ, module, name, contents string) {
	b.t.Helper()
	if _, err := b.Add(context.Background(), typ, module, name, strings.NewReader(contents)); err != nil {
		b.t.Errorf("add %s: %v", name, err)
	}
}

// drop writes a file into the drop box.
func (b *bench) drop(path, contents string) string {
	b.t.Helper()
	path = filepath.Join(b.Dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(contents), 0o644); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// idle waits, for a simulated day at most, until nothing is left to do.
func (b *bench) idle() Status {
	b.t.Helper()
	for range 24 * 60 * 6 {
		time.Sleep(10 * time.Second)
		if s, _ := b.Status(); s.State == Idle && s.Queued == 0 && len(b.waiting()) == 0 {
			return s
		}
	}
	s, _ := b.Status()
	b.t.Errorf("not idle after a day: %+v, drop box %v", s, b.waiting())
	return s
}

// waiting returns the files in the drop box that are not being held back.
func (b *bench) waiting() []string { return files(b.Dir, unfinished) }

func files(dir string, except func(string) bool) (names []string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != dir && except(d.Name()) {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() && !except(d.Name()) {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return nil
	})
	return names
}

// spooled returns the files that the spool's directory holds.
func (b *bench) spooled() []string {
	return files(filepath.Join(b.State, "spool"), func(n string) bool { return n == ".lock" })
}

// quarantine returns the files in quarantine by name, without the reasons.
func (b *bench) quarantine() map[string]string {
	got := map[string]string{}
	dir := filepath.Join(b.State, "quarantine")
	for _, name := range files(dir, func(n string) bool { return strings.HasSuffix(n, ".reason") }) {
		seq, rest, _ := parseSeq(name)
		reason, err := os.ReadFile(filepath.Join(dir, seqName(seq)+".reason"))
		if err != nil {
			b.t.Error(err)
		}
		got[strings.TrimPrefix(rest, "-")] = string(reason)
	}
	return got
}

// A mortal is a disk whose process dies: after so many operations every
// further one fails and changes nothing, as after kill -9.
type mortal struct {
	mu    sync.Mutex
	left  int // operations until death; negative for immortal
	exdev bool
	stuck bool // nothing can be removed from the drop box
}

func (m *mortal) alive() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left > 0 {
		m.left--
	}
	return m.left != 0
}

func (m *mortal) dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left == 0
}

func (m *mortal) do(op func() error) error {
	if !m.alive() {
		return errDead
	}
	return op()
}

func (m *mortal) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	if !m.alive() {
		return nil, errDead
	}
	f, err := atomicfile.OS{}.Create(name, perm)
	if err != nil {
		return nil, err
	}
	return &mortalFile{f, m}, nil
}

func (m *mortal) ReadFile(name string) ([]byte, error) {
	if m.dead() {
		return nil, errDead
	}
	return atomicfile.OS{}.ReadFile(name)
}

func (m *mortal) Link(a, b string) error   { return m.do(func() error { return os.Link(a, b) }) }
func (m *mortal) Rename(a, b string) error { return m.do(func() error { return os.Rename(a, b) }) }
func (m *mortal) Remove(a string) error    { return m.do(func() error { return os.Remove(a) }) }
func (m *mortal) SyncDir(string) error     { return m.do(func() error { return nil }) } // no power is lost here

func (m *mortal) move(dir *os.File, name, to string) error {
	return m.do(func() error {
		if m.exdev {
			return unix.EXDEV
		}
		return dropOps{}.move(dir, name, to)
	})
}

func (m *mortal) hide(dir *os.File, name, as string) error {
	return m.do(func() error { return dropOps{}.hide(dir, name, as) })
}

func (m *mortal) remove(dir *os.File, name string) error {
	return m.do(func() error {
		if m.stuck {
			return unix.EPERM
		}
		return dropOps{}.remove(dir, name)
	})
}

type mortalFile struct {
	atomicfile.File
	m *mortal
}

func (f *mortalFile) Write(p []byte) (int, error) {
	if !f.m.alive() {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, errDead
	}
	return f.File.Write(p)
}

func (f *mortalFile) Sync() error { return f.m.do(func() error { return nil }) }

// lines returns n lines of text, no two files alike.
func lines(rng *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d %x %s\n", i, rng.Uint64(), strings.Repeat("x", rng.IntN(60)))
	}
	return b.String()
}
