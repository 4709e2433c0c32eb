package conf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// A watch runs a Watcher until the test ends.
type watch struct {
	t       *testing.T
	changed chan struct{}
}

func run(t *testing.T, w *Watcher) watch {
	t.Helper()
	got := watch{t, make(chan struct{}, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, func() { got.changed <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	return got
}

// until waits for calls of changed until condition holds.
func (w watch) until(what string, condition func() bool) {
	w.t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		select {
		case <-w.changed:
			if condition() {
				return
			}
		case <-deadline:
			w.t.Fatalf("%s: not told", what)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func reads(path, want string) func() bool {
	return func() bool {
		b, err := os.ReadFile(path)
		return err == nil && string(b) == want
	}
}

// TestWatchTellsEveryKindOfChange looks only every hour, so that it is events
// that tell.
func TestWatchTellsEveryKindOfChange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etc")
	path := filepath.Join(dir, "agent.conf")
	dropIns := path + ".d"
	must(t, os.MkdirAll(dropIns, 0o755))
	put(t, path, "0")
	w := NewWatcher([]string{path, dropIns}, nil)
	w.every = time.Hour
	told := run(t, w)

	put(t, path, "in place")
	told.until("in-place write", reads(path, "in place"))
	for i := range 3 {
		put(t, path+".new", fmt.Sprint(i))
		must(t, os.Rename(path+".new", path))
		told.until("rename over", reads(path, fmt.Sprint(i)))
	}
	must(t, os.Remove(path))
	told.until("delete", func() bool { return stampOf(path).err == unix.ENOENT })
	put(t, path, "back")
	told.until("re-creation", reads(path, "back"))
	must(t, os.Chmod(path, 0o640))
	told.until("chmod", func() bool { return stampOf(path).mode&0o777 == 0o640 })

	dropIn := filepath.Join(dropIns, "a.conf")
	put(t, dropIn, "1")
	told.until("new drop-in", reads(dropIn, "1"))
	put(t, dropIn, "22")
	told.until("changed drop-in", reads(dropIn, "22"))
	must(t, os.Remove(dropIn))
	told.until("deleted drop-in", func() bool { return len(entries(dropIns)) == 0 })

	must(t, os.Rename(dir, dir+".old"))
	told.until("directory gone", func() bool { return stampOf(path).err == unix.ENOENT })
	must(t, os.Mkdir(dir, 0o755))
	put(t, path, "new directory")
	told.until("directory replaced", reads(path, "new directory"))
	put(t, path, "again")
	told.until("write in the new directory", reads(path, "again"))

	must(t, os.RemoveAll(dir), os.Mkdir(dir, 0o755)) // perhaps with the inode it had
	put(t, path, "remade")
	told.until("directory remade", reads(path, "remade"))
	put(t, path, "and again")
	told.until("write in the remade directory", reads(path, "and again"))
}

func TestWatchFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		must(t, os.MkdirAll(filepath.Join(dir, "data", v), 0o755))
		put(t, filepath.Join(dir, "data", v, "conf"), v)
	}
	must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o755),
		os.Symlink("v1", filepath.Join(dir, "data", "cur")),
		os.Symlink(filepath.Join(dir, "data", "cur", "conf"), filepath.Join(dir, "etc", "conf")))
	path := filepath.Join(dir, "etc", "conf")
	w := NewWatcher([]string{path}, nil)
	w.every = time.Hour
	told := run(t, w)

	turn := func(link, target string) {
		must(t, os.Symlink(target, link+".new"), os.Rename(link+".new", link))
	}
	turn(filepath.Join(dir, "data", "cur"), "v2")
	told.until("a link on the way turned", reads(path, "v2"))
	put(t, filepath.Join(dir, "data", "v2", "conf"), "v2 changed")
	told.until("the file behind it written", reads(path, "v2 changed"))
	turn(path, "../data/v1/conf")
	told.until("the link itself turned", reads(path, "v1"))
	put(t, filepath.Join(dir, "data", "v1", "conf"), "v1 changed")
	told.until("the file behind that written", reads(path, "v1 changed"))
}

func TestWatchWaitsForMissingDirectories(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "conf")
	w := NewWatcher([]string{path}, nil)
	w.every = time.Hour
	told := run(t, w)
	// Each directory is made once the one above is watched: the file is what
	// is told about.
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	put(t, path, "x")
	told.until("made at once", reads(path, "x"))
	put(t, path, "xx")
	told.until("and changed", reads(path, "xx"))
}

// TestWatchLooksWhereNoEventsComeFrom replaces a directory far above.
func TestWatchLooksWhereNoEventsComeFrom(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c", "conf")
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	put(t, path, "old")
	w := NewWatcher([]string{path}, nil)
	w.every = 100 * time.Millisecond
	told := run(t, w)
	must(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "z")), os.MkdirAll(filepath.Dir(path), 0o755))
	put(t, path, "new")
	told.until("found by looking", reads(path, "new"))
	put(t, path, "newer")
	told.until("watched from then on", reads(path, "newer"))
}

func TestWatchMissesNothingBeforeRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf")
	w := NewWatcher([]string{path}, nil)
	put(t, path, "x")
	run(t, w).until("changed before Run", reads(path, "x"))
}

func TestWatchIsDoneWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Watch(ctx, []string{"/nowhere/at/all"}, func() { t.Error("told") }); err != nil {
		t.Error(err)
	}
}

func TestWatchGoesOnWithoutInotify(t *testing.T) {
	for _, limit := range []error{unix.EMFILE, unix.ENOSPC} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "conf")
			var log strings.Builder
			w := NewWatcher([]string{path, dir}, slog.New(slog.NewTextHandler(&log, nil)))
			w.open = func(log *slog.Logger) *eventSource {
				return newEventSource(func() (*fsnotify.Watcher, error) { return nil, limit }, log)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var told atomic.Int64
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx, func() { told.Add(1) }) }()
			want := func(n int, what string) {
				t.Helper()
				time.Sleep(pollEvery + settle)
				synctest.Wait()
				if told := told.Load(); told != int64(n) {
					t.Fatalf("%s: told %d times, want %d", what, told, n)
				}
			}
			want(0, "nothing")
			put(t, path, "x")
			want(1, "created")
			want(1, "nothing since")
			put(t, path+".new", "y")
			must(t, os.Rename(path+".new", path))
			want(2, "replaced")
			must(t, os.RemoveAll(dir))
			want(3, "gone")
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), limit.Error()) {
				t.Errorf("logged %d lines: %s", n, log.String())
			}
		})
	}
}

// TestWatchLooksOnceInHalfAMinute: an idle watcher does nothing else.
func TestWatchLooksOnceInHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "conf")
		w := NewWatcher([]string{path}, nil)
		w.open = func(*slog.Logger) *eventSource { return &eventSource{} }
		ctx, cancel := context.WithCancel(t.Context())
		told := make(chan time.Time, 1)
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx, func() { told <- time.Now() }) }()
		start := time.Now()
		for range 3 {
			time.Sleep(time.Second)
			put(t, path, start.String())
			must(t, os.Chtimes(path, start, time.Now()))
			if got := (<-told).Sub(start); got != pollEvery+settle {
				t.Errorf("told after %v", got)
			}
			start = start.Add(pollEvery + settle)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWatchSettles: a burst is one change, and one that does not end is told
// all the same.
func TestWatchSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "conf")
		events := make(chan fsnotify.Event)
		w := NewWatcher([]string{path}, nil)
		w.open = func(*slog.Logger) *eventSource { return &eventSource{names: events} }
		ctx, cancel := context.WithCancel(t.Context())
		told := []time.Duration{}
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx, func() { told = append(told, time.Since(start)) }) }()
		time.Sleep(time.Second)
		burst := func(n int) {
			for i := range n {
				put(t, path, strings.Repeat("x", i+1))
				events <- fsnotify.Event{Name: path, Op: fsnotify.Write}
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		burst(5)
		if len(told) != 1 || told[0] != 1400*time.Millisecond+settle {
			t.Errorf("after a burst: told at %v", told)
		}
		told, start = nil, time.Now()
		burst(100)
		if len(told) < 3 || told[0] > settleAtMost+settle {
			t.Errorf("in a flood: told at %v", told)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestWatchIgnoresTemporaryFilesAndNeighbours(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.conf")
	dropIns := filepath.Join(dir, "d")
	must(t, os.Mkdir(dropIns, 0o755))
	put(t, path, "x")
	e := eventSource{where: sourcesOf([]string{path, dropIns})}
	for name, want := range map[string]bool{
		path: true, dir: true, dropIns: true, dropIns + "/a.conf": true,
		dropIns + "/.a.conf" + mark + "X": false, dir + "/other": false, dir + "/.agent.conf.swp": false, "/etc": false,
	} {
		if got := e.concern(name); got != want {
			t.Errorf("%s: concerns %v, want %v", name, got, want)
		}
	}
	before := stamps([]string{path, dropIns})
	put(t, filepath.Join(dropIns, ".hidden"), "x")
	if after := stamps([]string{path, dropIns}); !slices.Equal(before, after) {
		t.Error("a hidden file is a change")
	}
}

func TestSourcesOfLinkLoopsEnd(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("b", filepath.Join(dir, "a")), os.Symlink("a", filepath.Join(dir, "b")))
	if got := sourcesOf([]string{filepath.Join(dir, "a", "x")}); !got.names[filepath.Join(dir, "a")] {
		t.Errorf("got %+v", got)
	}
	must(t, os.Symlink(".", filepath.Join(dir, "self")))
	deep := filepath.Join(dir, strings.Repeat("self/", 39), "conf")
	if got := sourcesOf([]string{deep, "/"}); !got.names[filepath.Join(dir, "conf")] {
		t.Errorf("got %+v", got)
	}
}

func TestEventErrorsAreForgivenForAWhile(t *testing.T) {
	var log strings.Builder
	e := newEventSource(fsnotify.NewWatcher, slog.New(slog.NewTextHandler(&log, nil)))
	defer e.close()
	for range 100 {
		e.failed(fsnotify.ErrEventOverflow)
	}
	if e.watcher == nil || log.Len() > 0 {
		t.Fatalf("gave up early: %s", log.String())
	}
	e.failed(fsnotify.ErrEventOverflow)
	if e.watcher != nil || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("did not give up: %s", log.String())
	}
	e.follow([]string{"/etc"})
}

// TestWatchGoesOnWhenWatchesRunOut sets the kernel's limit to none.
func TestWatchGoesOnWhenWatchesRunOut(t *testing.T) {
	if !isolated(t, unix.CLONE_NEWUSER) {
		return
	}
	for _, c := range []struct{ limit, cause string }{
		{"max_inotify_watches", unix.ENOSPC.Error()},
		{"max_inotify_instances", unix.EMFILE.Error()},
	} {
		put(t, "/proc/sys/user/"+c.limit, "0")
		path := filepath.Join(t.TempDir(), "conf")
		var log strings.Builder
		w := NewWatcher([]string{path}, slog.New(slog.NewTextHandler(&log, nil)))
		w.every = 50 * time.Millisecond
		told := run(t, w)
		put(t, path, "x")
		told.until("created", reads(path, "x"))
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), c.cause) {
			t.Errorf("%s: logged %d lines: %s", c.limit, n, log.String())
		}
	}
}

func TestPathsAreTracedAnewOnlyWhenSomethingHasMoved(t *testing.T) {
	for name, move := range map[string]func(dir string) error{
		"a directory above is replaced": func(dir string) error {
			if err := os.Rename(dir+"/up", dir+"/old"); err != nil {
				return err
			}
			return os.MkdirAll(dir+"/up/in", 0o755)
		},
		"a directory on the way is made": func(dir string) error { return os.Mkdir(dir+"/later", 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(dir+"/up/in", 0o755); err != nil {
				t.Fatal(err)
			}
			e := openInotify(slog.New(slog.DiscardHandler))
			defer e.close()
			if e.watcher == nil {
				t.Fatal("no inotify")
			}
			if e.stands() {
				t.Error("nothing was traced yet, and it stands")
			}
			e.follow([]string{dir + "/up/in/file", dir + "/later/file"})
			if !e.stands() {
				t.Errorf("nothing has moved: %+v", e.where)
			}
			if err := move(dir); err != nil {
				t.Fatal(err)
			}
			if e.stands() {
				t.Error("not seen")
			}
		})
	}
}
