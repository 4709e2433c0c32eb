package collect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestWhatIsThereAtFirstIsReadAndItsRotationsAreNot(t *testing.T) {
	w := newWorld(t, t.TempDir(), "*.log")
	w.append("app.log.1", "old\n")
	w.append("app.log", "one\ntwo\n")
	w.append("b.log", "b\n")
	w.append("notes.txt", "none\n")
	w.pass(time.Second)
	w.append("app.log", "three\n")
	w.pass(time.Second)
	w.wants("one\ntwo\nb\nthree\n")
	if got := strings.Join(w.queue.names(), " "); got != "app.0000000003.log b.0000000004.log app.0000000005.log" {
		t.Errorf("names %s", got)
	}
}

func TestHalfALineWaitsUntilItsFileIsRotated(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log")
	w.append("app.log", "one\ntw")
	w.pass(time.Second)
	w.pass(time.Hour)
	w.wants("one\n")
	w.append("app.log", "o\nthr")
	w.rename("app.log", 5)
	w.pass(time.Second)
	w.append("app.log.1", "ee") // its writer has not been told yet
	w.append("app.log", "four\n")
	w.pass(time.Second)
	w.pass(settle)
	w.pass(time.Second)
	if got := w.queue.released[len(w.queue.released)-1].text; got != "three" {
		t.Errorf("the last of the rotated file is %q", got)
	}
}

// TestTheOlderFileGoesFirst: what was rotated is not due yet, and its successor
// already has enough for a data file.
func TestTheOlderFileGoesFirst(t *testing.T) {
	for _, pattern := range []string{"app.log", "app.log*"} {
		w := newWorld(t, t.TempDir(), pattern)
		w.size = 100
		w.start()
		w.append("app.log", "one\n")
		w.pass(time.Second)
		w.append("app.log", "two\n")
		w.rename("app.log", 9)
		more := strings.Repeat("three\n", 20)
		w.append("app.log", more)
		w.pass(0)
		w.wants("one\ntwo\n" + more)
		w.c.closeFiles()
	}
}

func TestADeletedFileIsReadToItsEnd(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log")
	w.append("app.log", "one\n")
	w.pass(0)
	w.append("app.log", "two\nthr")
	w.must(os.Remove(w.path("app.log")))
	w.append("app.log", "new\n")
	for range 3 {
		w.pass(settle)
	}
	w.wants("one\ntwo\nnew\nthr")
	if len(w.c.state.Files) != 1 || w.c.open != 1 {
		t.Errorf("%d files are known, %d open", len(w.c.state.Files), w.c.open)
	}
	w.append("app.log", "seen\n")
	w.pass(time.Millisecond)
	w.start() // and nothing holds it
	w.must(os.Remove(w.path("app.log")))
	w.append("other", "")
	w.pass(time.Second)
	w.wants("one\ntwo\nnew\nthr")
}

func TestDataFilesAreNamedByTheirLog(t *testing.T) {
	for base, want := range map[string]string{
		"app.log": "app.0000000007.log", "app.log.1": "app.0000000007.log", "app.log-20260101": "app.0000000007.log", "syslog": "syslog.0000000007",
		"syslog.3": "syslog.0000000007", ".hidden": ".hidden.0000000007", "app-2.log": "app-2.0000000007.log", "v1.2.log.old": "v1.2.0000000007.log", "7": "7.0000000007",
	} {
		if got := dataName(base, 7); got != want {
			t.Errorf("%s: %s, want %s", base, got, want)
		}
	}
	for _, tc := range []struct {
		base, name string
		want       bool
	}{
		{"app.log", "app.log.1", true}, {"app.log", "app.log-20260101", true}, {"app.log", "app-20260101.log", true}, {"app.log", "app.2.log", true}, {"syslog", "syslog.1", true}, {"app.log", "app.log.old", true},
		{"app.log", "app.log", false}, {"app.log", "app.error.log", false}, {"app.log", "app.log.1.gz", false}, {"app.log", "app.log.bak", false}, {"app.log", "app.log.", false}, {"a", "ab.1", false},
	} {
		if got := related(tc.base, tc.name); got != tc.want {
			t.Errorf("%s of %s: %v", tc.name, tc.base, got)
		}
	}
}

func TestCompressedRotationsAreLeftAlone(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log*")
	w.append("app.log", "one\n")
	w.append("app.log.2.gz", "\x1f\x8bnot lines\n")
	w.pass(time.Second)
	w.append("app.log", "two\n")
	w.must(os.Rename(w.path("app.log"), w.path("app.log.1")))
	w.append("app.log.1.gz", "\x1f\x8b\n")
	w.must(os.Remove(w.path("app.log.1"))) // as gzip does
	w.append("app.log", "three\n")
	w.pass(time.Second)
	w.wants("one\ntwo\nthree\n")
}

// TestAnotherFileInItsPlace has the same inode: as after its number was given
// away again, or after a truncation without a copy.
func TestAnotherFileInItsPlace(t *testing.T) {
	for name, again := range map[string]string{
		"shorter": "new\n", "as long": "new\nnew\n", "longer": strings.Repeat("new\n", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir(), "app.log")
			w.append("app.log", "one\ntwo\n")
			w.pass(time.Second)
			w.must(os.WriteFile(w.path("app.log"), []byte(again), 0o644))
			w.touch("app.log")
			w.pass(time.Second)
			w.wants("one\ntwo\n" + again)
			if w.c.sources["app"].Truncated != 1 {
				t.Errorf("%d truncations", w.c.sources["app"].Truncated)
			}
		})
	}
}

// TestAHoleIsNoLine is a writer that goes on at its old place after a
// truncation.
func TestAHoleIsNoLine(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log")
	w.append("app.log", strings.Repeat("one\n", 5000))
	w.pass(time.Second)
	w.copyTruncate("app.log", 3, nil)
	f, err := os.OpenFile(w.path("app.log"), os.O_WRONLY, 0)
	w.must(err)
	_, err = f.WriteAt([]byte("two\n"), 20000)
	w.must(err)
	w.must(f.Close())
	w.touch("app.log")
	w.pass(time.Second)
	w.wants(strings.Repeat("one\n", 5000) + "two\n")
}

func TestWhatIsNoLogIsNotOpened(t *testing.T) {
	w := newWorld(t, t.TempDir(), "*")
	secret := filepath.Join(w.dir, "secret")
	w.must(os.WriteFile(secret, []byte("secret\n"), 0o644))
	w.must(os.Symlink(secret, w.path("link")))
	w.must(os.Link(secret, w.path("hard")))
	w.must(unix.Mkfifo(w.path("fifo"), 0o644))
	l, err := net.Listen("unix", w.path("socket"))
	w.must(err)
	defer l.Close()
	w.must(os.WriteFile(w.path("con\x01trol"), []byte("secret\n"), 0o644))
	w.append("app", "fine\n")
	w.pass(time.Second)
	w.wants("fine\n")
	if s := w.c.sources["app"]; s.Files != 1 || s.Error == "" {
		t.Errorf("status %+v", *s)
	}
	for name, want := range map[string]error{"link": errLink, "hard": errHardLinks, "fifo": errSpecial} {
		var st unix.Stat_t
		w.must(unix.Lstat(w.path(name), &st))
		if got := accept(&st, &st, os.Geteuid()); !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestWhoseFilesAreFollowed(t *testing.T) {
	const agent, alice, bob = 7, 1000, 1001
	for _, tc := range []struct {
		file, dir uint32
		sticky    bool
		want      error
	}{
		{0, alice, false, nil}, {agent, alice, false, nil}, {alice, alice, false, nil},
		{bob, alice, false, errForeign}, {bob, 0, false, errForeign}, {bob, 0, true, nil},
	} {
		st := unix.Stat_t{Mode: unix.S_IFREG | 0o644, Nlink: 1, Uid: tc.file}
		dir := unix.Stat_t{Mode: unix.S_IFDIR | 0o755, Uid: tc.dir}
		if tc.sticky {
			dir.Mode |= unix.S_ISVTX
		}
		if got := accept(&st, &dir, agent); !errors.Is(got, tc.want) {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

// TestLinksOnTheWay are followed where root or our user has made them.
func TestLinksOnTheWay(t *testing.T) {
	w := newWorld(t, t.TempDir(), "../to/*.log", "../way/log/*.log")
	w.append("app.log", "fine\n")
	w.must(os.Symlink("log", filepath.Join(w.dir, "to")))
	w.must(os.Symlink(w.dir, filepath.Join(w.dir, "way")))
	w.pass(time.Second)
	w.wants("fine\n")

	v := &walk{uid: os.Geteuid() + 1, visit: func(directory, string) { t.Error("went through another user's link") }}
	var why error
	v.fault = func(_ string, err error) { why = err }
	link := filepath.Join(w.dir, "to")
	if os.Geteuid() == 0 {
		w.must(os.Lchown(link, 65534, 65534))
	}
	v.pattern(filepath.Join(link, "*.log"))
	if !errors.Is(why, errLinkOf) {
		t.Errorf("said %v", why)
	}
	w.must(os.Symlink("loop", filepath.Join(w.dir, "loop")))
	loop := &walk{uid: os.Geteuid(), visit: v.visit, fault: v.fault}
	loop.pattern(filepath.Join(w.dir, "loop", "*.log"))
	if !errors.Is(why, unix.ELOOP) {
		t.Errorf("a loop: %v", why)
	}
}

func TestManyFilesAreBounded(t *testing.T) {
	w := newWorld(t, t.TempDir(), "*.log")
	var want strings.Builder
	for i := range maxFiles + 44 {
		w.append(fmt.Sprintf("%04d.log", i), fmt.Sprintln(i))
		if i < maxFiles {
			fmt.Fprintln(&want, i)
		}
	}
	w.pass(time.Second)
	w.wants(want.String())
	s := w.c.sources["app"]
	if s.Files != maxFiles || w.c.open > maxHeld || !strings.Contains(s.Error, errManyFiles.Error()) {
		t.Errorf("status %+v, %d open", *s, w.c.open)
	}
	w.append("0099.log", "again\n") // one that is not kept open
	w.append("0200.log", "again\n")
	w.pass(time.Second)
	w.wants(want.String() + "again\nagain\n")
}

func TestDataFilesEndAtLineEnds(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log")
	w.size = 100
	w.start()
	long := strings.Repeat("x", 1000) + "\n"
	w.append("app.log", strings.Repeat("a line\n", 50)+long+"end\n")
	w.pass(time.Second)
	w.wants(strings.Repeat("a line\n", 50) + long + "end\n")
	for _, e := range w.queue.released {
		if !strings.HasSuffix(e.text, "\n") || len(e.text) > 100 && !strings.HasSuffix(e.text, long) {
			t.Errorf("a data file of %d bytes", len(e.text))
		}
	}
	endless := strings.Repeat("y", maxLine+10)
	w.append("app.log", endless)
	w.pass(time.Second)
	if got := w.queue.sent(); !strings.HasSuffix(got, endless[:maxLine]) || strings.HasSuffix(got, endless[:maxLine+1]) {
		t.Error("a line without an end is not cut at the bound")
	}
}

func TestAFullQueueIsWaitedFor(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log")
	w.append("app.log", "one\n")
	w.queue.full = true
	w.pass(time.Second)
	w.rename("app.log", 3)
	w.append("app.log", "two\n")
	w.pass(time.Hour)
	if s := w.c.sources["app"]; s.Error == "" || s.Behind != 8 {
		t.Errorf("status %+v", *s)
	}
	w.queue.full = false
	w.pass(time.Hour)
	w.wants("one\ntwo\n")
	if s := w.c.sources["app"]; s.Error != "" || s.Behind != 0 || s.Files != 2 {
		t.Errorf("status %+v", *s)
	}
}

// TestRotationsNobodySaw: the agent was not running for three of them, of which
// one has been deleted.
func TestRotationsNobodySaw(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log")
	w.append("app.log.1", "before\n")
	w.append("app.log", "one\n")
	w.pass(time.Second)
	w.c.closeFiles()
	w.append("app.log", "two\n")
	w.rename("app.log", 9)
	w.append("app.log", "three\n")
	w.rename("app.log", 9)
	w.append("app.log", "four\n")
	w.rename("app.log", 9)
	w.append("app.log", "five\n")
	w.must(os.Remove(w.path("app.log.2")))
	w.start()
	w.pass(time.Second)
	w.wants("one\ntwo\nfour\nfive\n")
}

func TestRunFollowsUntilItsEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, "app.log")
		w.c.watch = func() (notifier, error) { return nil, errors.New("none left") }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.c.Run(ctx) }()
		w.must(os.WriteFile(w.path("app.log"), []byte("one\n"), 0o644))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		w.wants("one\n")
		if s, _ := w.c.Status(); len(s.Sources) != 1 || s.Sources[0].Collected != 1 {
			t.Errorf("status %+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWhatWasStagedIsReleasedWithoutSources: the section has been taken out of
// the settings.
func TestWhatWasStagedIsReleasedWithoutSources(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, "app.log")
		w.append("app.log", "one\n")
		w.queue.left = 7 // dies between the two
		w.pass(time.Second)
		w.queue.left = -1
		if len(w.queue.staged) != 1 {
			t.Fatalf("staged %v, released %v", w.queue.staged, w.queue.released)
		}
		w.start()
		w.queue.released, w.queue.staged = nil, map[string]entry{"1": {origin: "?"}, "2": w.queue.staged["000001"]}
		w.c.Sources = nil
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.c.Run(ctx) }()
		synctest.Wait()
		if len(w.queue.staged) != 0 {
			t.Errorf("staged %v", w.queue.staged)
		}
		cancel()
		<-done
	})
}

func TestTheKernelTellsOfRotations(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log")
	n, err := newInotify()
	w.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	done := make(chan error, 1)
	go func() { done <- n.run(ctx) }()
	n.watch(filepath.Join(w.dir, "log"))
	n.settle()
	for _, change := range []func(){
		func() { w.append("app.log", "one\n") },
		func() { w.must(os.Rename(w.path("app.log"), w.path("app.log.1"))) },
		func() { w.must(os.Remove(w.path("app.log.1"))) },
	} {
		change()
		select {
		case <-n.news():
		case <-ctx.Done():
			t.Fatal("no word of it")
		}
		n.watch(filepath.Join(w.dir, "log"))
		n.settle()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add(origin{3, file{mark: mark{1, 2, 3, 4, "a", "b"}, Source: "app", Path: "/var/log/app.log", Order: 1}}.String())
	f.Add(`{"n":18446744073709551615,"file":{"pos":-1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		q := &fakeQueue{staged: map[string]entry{"1": {origin: text}}, life: &life{left: -1}}
		c := &Collector{State: filepath.Join(t.TempDir(), "state"), Queue: q}
		c.setDefaults()
		if err := c.recover(); err != nil {
			t.Fatal(err)
		}
		if len(q.staged) != 0 || c.state.Next == 0 {
			t.Fatalf("%v, %+v", q.staged, c.state)
		}
		for _, f := range c.state.Files {
			if !f.sane() {
				t.Fatalf("%+v", f)
			}
		}
	})
}
