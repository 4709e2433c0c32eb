package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

var errDead = errors.New("dead")

// A fakeQueue keeps what is staged in it through the ends of Collectors.
type fakeQueue struct {
	next     int
	staged   map[string]entry
	released []entry
	full     bool
	asked    int // calls of Stage
	*life
}

type entry struct{ name, origin, text string }

// A life ends after so many steps.
type life struct{ left int }

func (l *life) step() error {
	if l.left == 0 {
		return errDead
	}
	l.left--
	return nil
}

func (q *fakeQueue) Stage(_ context.Context, typ, module, name, origin string, r io.Reader) (string, error) {
	q.asked++
	if q.full {
		return "", errors.New("spool is full")
	}
	if err := q.step(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	q.next++
	id := fmt.Sprintf("%06d", q.next)
	q.staged[id] = entry{name, origin, string(b)}
	return id, q.step() // it may die after the fact
}

func (q *fakeQueue) Staged() (map[string]string, error) {
	out := map[string]string{}
	for id, e := range q.staged {
		out[id] = e.origin
	}
	return out, q.step()
}

func (q *fakeQueue) Release(ids ...string) {
	for _, id := range ids {
		if e, ok := q.staged[id]; ok && q.left != 0 {
			q.released = append(q.released, e)
			delete(q.staged, id)
		}
	}
}

func (q *fakeQueue) Discard(id string) error {
	delete(q.staged, id)
	return q.step()
}

// sent is what has been released, in the order of the names.
func (q *fakeQueue) sent() string {
	list := slices.SortedFunc(slices.Values(q.released), func(a, b entry) int { return strings.Compare(a.name[len(a.name)-14:], b.name[len(b.name)-14:]) })
	var b strings.Builder
	for _, e := range list {
		b.WriteString(e.text)
	}
	return b.String()
}

func (q *fakeQueue) names() []string {
	var list []string
	for _, e := range q.released {
		list = append(list, e.name)
	}
	return list
}

// A mortalFS is the disk for as long as a life lasts.
type mortalFS struct {
	atomicfile.OS
	*life
}

func (m mortalFS) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	if err := m.step(); err != nil {
		return nil, err
	}
	return m.OS.Create(name, perm)
}

func (m mortalFS) Rename(from, to string) error {
	if err := m.step(); err != nil {
		return err
	}
	return m.OS.Rename(from, to)
}

// fatal is what the tests of testing and of rapid have.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// A world is a directory of logs with programs that write and rotate them, and
// a Collector. Time goes by at its word.
type world struct {
	fatal
	dir   string
	queue *fakeQueue
	c     *Collector
	now   time.Time
	files []string
	size  int64
}

func newWorld(t fatal, dir string, patterns ...string) *world {
	w := &world{fatal: t, dir: dir, now: time.Unix(1700000000, 0), size: 1 << 20,
		queue: &fakeQueue{staged: map[string]entry{}, life: &life{left: -1}}}
	for _, p := range patterns {
		w.files = append(w.files, filepath.Join(dir, "log", p))
	}
	for _, d := range []string{"log", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatalf("%v", err)
		}
	}
	w.start()
	return w
}

// start begins a life, which may end after a number of steps.
func (w *world) start() {
	w.Helper()
	if w.c != nil {
		w.c.closeFiles()
	}
	w.c = &Collector{
		Sources: []Source{{Name: "app", Type: "log", Files: w.files, Every: time.Second, Size: w.size}},
		State:   filepath.Join(w.dir, "state", "collect"), Queue: w.queue, FS: mortalFS{life: w.queue.life},
		Log: slog.New(slog.DiscardHandler),
	}
	w.c.setDefaults()
	if err := w.c.recover(); err != nil && !errors.Is(err, errDead) {
		w.Fatalf("recover: %v", err)
	}
}

// pass lets the Collector look after d.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.c.pass(context.Background(), w.now, deaf{})
}

func (w *world) path(name string) string { return filepath.Join(w.dir, "log", name) }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("%v", err)
	}
}

// touch gives a file the time of the world as that of its last change.
func (w *world) touch(name string) {
	w.now = w.now.Add(time.Millisecond)
	w.must(os.Chtimes(w.path(name), w.now, w.now))
}

func (w *world) append(name, text string) {
	w.Helper()
	f, err := os.OpenFile(w.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	w.must(err)
	_, err = f.WriteString(text)
	w.must(err)
	w.must(f.Close())
	w.touch(name)
}

// shift renames name.1 to name.2 and so on, and leaves keep of them.
func (w *world) shift(name string, keep int) {
	w.Helper()
	for i := keep; i > 0; i-- {
		from := fmt.Sprintf("%s.%d", name, i)
		if _, err := os.Lstat(w.path(from)); err != nil {
			continue
		}
		if i == keep {
			w.must(os.Remove(w.path(from)))
			continue
		}
		w.must(os.Rename(w.path(from), w.path(fmt.Sprintf("%s.%d", name, i+1))))
	}
}

func (w *world) rename(name string, keep int) {
	w.Helper()
	w.shift(name, keep)
	w.must(os.Rename(w.path(name), w.path(name+".1")))
	w.must(os.WriteFile(w.path(name), nil, 0o644))
	w.touch(name)
}

func (w *world) copyTruncate(name string, keep int, between func()) {
	w.Helper()
	w.shift(name, keep)
	b, err := os.ReadFile(w.path(name))
	w.must(err)
	w.must(os.WriteFile(w.path(name+".1"), b, 0o644))
	w.touch(name + ".1")
	if between != nil {
		between()
	}
	w.must(os.Truncate(w.path(name), 0))
	w.touch(name)
}

func (w *world) wants(text string) {
	w.Helper()
	if got := w.queue.sent(); got != text {
		w.Fatalf("sent\n%q\nwant\n%q\nstatus %+v", got, text, slices.Collect(maps.Values(w.c.sources)))
	}
}
