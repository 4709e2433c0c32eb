package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

func TestExcerptsFollowOneAnother(t *testing.T) {
	g := newRig(t)
	g.program = true
	g.write(t, 500)
	r := g.recorder(nil)
	r.open()
	r.turn(t.Context(), true)
	g.whole(t, "at the first turn")
	g.write(t, 3)
	r.turn(t.Context(), false)
	g.whole(t, "at the second")
	r.turn(t.Context(), false) // nothing is new
	g.whole(t, "at the third")
	for _, s := range r.Status() {
		if s.Error != "" || s.Type == Journal && (s.Files < 3 || s.Bytes < 10000 || s.Last.IsZero()) {
			t.Errorf("%+v", s)
		}
	}
	// After a restart, and one more that finds nothing.
	g.write(t, 7)
	for range 2 {
		r = g.recorder(nil)
		r.open()
		r.turn(t.Context(), true)
		g.whole(t, "after a restart")
	}
	names, _ := filepath.Glob(filepath.Join(r.Dir, "*.excerpt"))
	if len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

// errDied stands for the end of the agent: from then on no call reaches the
// disk.
var errDied = errors.New("died")

// A mortalFS dies at one of its calls, before or after it is done.
type mortalFS struct {
	unsyncedFS
	left  int
	after bool
}

func (m *mortalFS) call(do func() error) error {
	m.left--
	if m.left < 0 || m.left == 0 && !m.after {
		return errDied
	}
	if err := do(); err != nil {
		return err
	}
	if m.left == 0 {
		return errDied
	}
	return nil
}

func (m *mortalFS) Create(name string, perm os.FileMode) (f atomicfile.File, err error) {
	err = m.call(func() error { f, err = m.unsyncedFS.Create(name, perm); return err })
	return f, err
}

func (m *mortalFS) Link(a, b string) error { return m.call(func() error { return m.OS.Link(a, b) }) }
func (m *mortalFS) Rename(a, b string) error {
	return m.call(func() error { return m.OS.Rename(a, b) })
}
func (m *mortalFS) Remove(a string) error { return m.call(func() error { return m.OS.Remove(a) }) }
func (m *mortalFS) SyncDir(d string) error {
	return m.call(func() error { return m.unsyncedFS.SyncDir(d) })
}

// TestDeathAtEveryCall lets the agent end before and after each of its calls to
// the file system: nothing is lost and nothing is doubled.
func TestDeathAtEveryCall(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			g := newRig(t)
			g.write(t, 400) // two excerpts
			r := g.recorder(nil)
			r.open()
			r.turn(t.Context(), true)
			g.write(t, 20)
			disk := &mortalFS{left: n, after: after}
			r.FS = disk
			r.turn(t.Context(), false)
			g.write(t, 10)
			r = g.recorder(nil)
			r.open()
			r.turn(t.Context(), true)
			g.whole(t, fmt.Sprintf("died at call %d (after it: %v)", n, after))
			if disk.left > 0 {
				if n < 20 {
					t.Fatalf("a turn makes %d calls alone", n)
				}
				break
			}
		}
	}
}

func TestNothingIsRecordedAtNormal(t *testing.T) {
	g := newRig(t)
	g.write(t, 10)
	r := g.recorder(nil)
	var level latest.Value[Level]
	level.Set(Level{})
	r.Level = func() (Level, <-chan struct{}) { l, _, changed := level.Get(); return l, changed }
	handed := make(chan string, 100)
	r.Hand = func(_ context.Context, typ, name, path string) error {
		err := os.Rename(path, filepath.Join(g.queue, name))
		handed <- typ
		return err
	}
	log := slog.New(r.OwnLog.Handler(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	until := func(typ string, lines int) {
		t.Helper()
		for len(g.arrived(t, typ)) < lines {
			<-handed
		}
	}
	log.Error("before anybody asked")
	level.Set(Level{On: true, Least: slog.LevelWarn})
	until(Kernel, 2) // the own log has been kept since before
	log.Info("too little to tell")
	log.Warn("worth telling")
	g.write(t, 10)
	level.Set(Level{})
	until(Journal, 20)
	until(Kernel, 4)
	until(Own, 1)
	log.Error("after the end")
	level.Set(Level{On: true, Least: slog.LevelDebug})
	for !r.OwnLog.form.Enabled(ctx, slog.LevelDebug) {
		runtime.Gosched()
	}
	log.Debug("in detail")
	level.Set(Level{})
	until(Own, 2)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	g.whole(t, "at the end")
	if got := strings.Join(g.arrived(t, Own), "\n"); got != "level=WARN msg=\"worth telling\"\nlevel=DEBUG msg=\"in detail\"" {
		t.Errorf("the own log is %q", got)
	}
}

// TestHistory: a level that is raised for the first time finds what the journal
// had before, but not all of it; one that is raised again does not double it.
func TestHistory(t *testing.T) {
	g := newRig(t)
	g.write(t, 100)
	r := g.recorder(nil)
	r.History = 10 * time.Second
	r.open()
	r.turn(t.Context(), true)
	if got := g.arrived(t, Journal); len(got) != 10 || !strings.HasSuffix(got[0], "entry 91 of the journal") {
		t.Errorf("%q", got)
	}
	r.finish(t.Context(), true)
	g.write(t, 5)
	r = g.recorder(nil)
	r.History = 10 * time.Second
	r.open()
	r.turn(t.Context(), true)
	if got := g.arrived(t, Journal); len(got) != 15 || !strings.HasSuffix(got[14], "entry 105 of the journal") {
		t.Errorf("raised again: %q", got)
	}
	r.finish(t.Context(), true)
	g.write(t, 100)
	r.turn(t.Context(), true)
	if got := g.arrived(t, Journal); len(got) != 25 || !strings.HasSuffix(got[15], "entry 196 of the journal") {
		t.Errorf("raised after long: %q", got)
	}
	if got := g.arrived(t, Kernel); len(got) != 41 {
		t.Errorf("dmesg has %d messages of this boot, want all 41", len(got))
	}
}

// TestAnotherJournal: of one that has begun anew, as one in memory does at each
// boot, no entry is passed over.
func TestAnotherJournal(t *testing.T) {
	g := newRig(t)
	g.write(t, 3)
	r := g.recorder(nil)
	r.Types = []string{Journal}
	r.run = func(_ context.Context, args []string, _ io.Writer) (io.Reader, func() error, error) {
		text := "__CURSOR=s=old\nMESSAGE=before\n\n"
		if slices.Contains(args, "--cursor=s=old") {
			text = "__CURSOR=s=new1\nMESSAGE=first\n\n__CURSOR=s=new2\nMESSAGE=second\n\n"
		}
		return strings.NewReader(text), func() error { return nil }, nil
	}
	r.open()
	r.turn(t.Context(), true)
	r.turn(t.Context(), false)
	got := strings.Join(g.arrived(t, Journal), "\n")
	for _, want := range []string{"before", "first", "second"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, got)
		}
	}
}

func TestDailyLimit(t *testing.T) {
	g := newRig(t)
	g.write(t, 2000)
	r := g.recorder(nil)
	r.Types, r.Daily = []string{Journal}, 40<<10
	r.open()
	r.turn(t.Context(), true)
	s := r.Status()[0]
	if s.Bytes > r.Daily || s.Bytes < r.Daily/2 || !strings.Contains(s.Error, "daily_limit") {
		t.Errorf("%+v", s)
	}
	seen := len(g.arrived(t, Journal))
	r = g.recorder(nil) // a restart gives no new bytes
	r.Types, r.Daily = []string{Journal}, 40<<10
	r.open()
	r.turn(t.Context(), true)
	if got := len(g.arrived(t, Journal)); got != seen {
		t.Errorf("%d lines after a restart, %d before", got, seen)
	}
	for range 5 {
		g.now = g.now.Add(24 * time.Hour)
		r.turn(t.Context(), false)
	}
	if got := g.arrived(t, Journal); len(got) != 2000 {
		t.Errorf("%d of 2000 lines after days", len(got))
	}
}

func TestWhatKeepsTheJournalAway(t *testing.T) {
	for _, tt := range []struct{ journal, want string }{
		{"FAIL No journal files were opened due to insufficient permissions.\n", "not allowed to read the journal"},
		{"FAIL Failed to seek to cursor: Invalid argument\n", "does not know the place"},
		{"FAIL Segmentation fault\n", "exit status 1"},
		{"", "there is no journal"},
	} {
		g := newRig(t)
		if tt.journal != "" {
			if err := os.WriteFile(g.journal, []byte(tt.journal), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := g.recorder(nil)
		r.open()
		r.turn(t.Context(), true)
		if s := r.Status()[0]; !strings.Contains(s.Error, tt.want) {
			t.Errorf("%q: %+v", tt.journal, s)
		}
		_ = os.Remove(g.journal)
		g.write(t, 5)
		r.turn(t.Context(), false)
		g.whole(t, "once it is back")
		if s := r.Status()[0]; s.Error != "" {
			t.Errorf("afterwards: %+v", s)
		}
	}
}

// TestWithoutJournalctl reads the kernel's log, and knows it again.
func TestWithoutJournalctl(t *testing.T) {
	g := newRig(t)
	g.program = true
	r := g.recorder(nil)
	var log messages
	start := func(boot string) {
		r = g.recorder(nil)
		r.BootID, r.journalctl = boot, filepath.Join(g.dir, "none")
		r.kmsg = func() (io.ReadCloser, error) { m := log; return &m, nil }
		r.open()
		r.turn(t.Context(), true)
	}
	log = messages{"6,0,0,-;Linux version 6.1\n SUBSYSTEM=x\n", "4,1,1500000,-,caller=T1;usb 1-1: new device\n"}
	start("a")
	if s := r.Status(); !strings.Contains(s[0].Error, "journalctl is not there") || s[1].Error != "" {
		t.Errorf("%+v", s)
	}
	start("a")
	log = append(log, "4,2,2500000,-;usb 1-1: gone\n", "not a message")
	start("a")
	log = messages{"6,0,0,-;Linux version 6.1\n"}
	start("b")
	want := "[    0.000000] Linux version 6.1\n[    1.500000] usb 1-1: new device\n[    2.500000] usb 1-1: gone\n[    0.000000] Linux version 6.1"
	if got := strings.Join(g.arrived(t, Kernel), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r.kmsg = func() (io.ReadCloser, error) { return nil, os.ErrPermission }
	r.turn(t.Context(), false)
	if s := r.Status()[1]; !strings.Contains(s.Error, "permission") {
		t.Errorf("%+v", s)
	}
}

// messages are those of a /dev/kmsg: one a read.
type messages []string

func (m *messages) Read(b []byte) (int, error) {
	if len(*m) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*m)[0])
	*m = (*m)[1:]
	return n, nil
}

func (m *messages) Close() error { return nil }

func TestOwnLogIsBounded(t *testing.T) {
	g := newRig(t)
	r := g.recorder(nil)
	r.Types = []string{Own}
	var turns atomic.Int32
	hand := r.Hand
	r.Hand = func(ctx context.Context, typ, name, path string) error {
		turns.Add(1)
		return hand(ctx, typ, name, path)
	}
	r.open()
	r.follow(Level{On: true})
	log := slog.New(r.OwnLog.Handler(slog.DiscardHandler)).With("task", "test")
	for i := range 1000 {
		log.Info("a line of the log", "n", i)
	}
	r.turn(t.Context(), true)
	log.Info("after that")
	r.turn(t.Context(), false)
	lines := g.arrived(t, Own)
	s := r.Status()[0]
	if s.Bytes > 20<<10 || s.Skipped == 0 || len(lines) != 1000-s.Skipped+2 || turns.Load() != 2 {
		t.Errorf("%d lines: %+v", len(lines), s)
	}
	if got := lines[len(lines)-2]; got != fmt.Sprintf("-- %d lines are missing, for there was no room --", s.Skipped) {
		t.Errorf("the last line is %q", got)
	}
	select {
	case <-r.OwnLog.full:
	default:
		t.Error("nobody was asked to make room")
	}
}

// What an agent wrote that then died is not lost, whether the level is still
// raised or not.
func TestOwnLogAfterADeath(t *testing.T) {
	for _, on := range []bool{true, false} {
		g := newRig(t)
		r := g.recorder(nil)
		r.open()
		r.follow(Level{On: true})
		slog.New(r.OwnLog.Handler(slog.DiscardHandler)).Info("last words")
		r = g.recorder(nil)
		r.open()
		if on {
			r.follow(Level{On: true})
			r.turn(t.Context(), true)
		} else if !r.finish(t.Context(), false) {
			t.Error("something is left")
		}
		if got := g.arrived(t, Own); len(got) != 1 || !strings.Contains(got[0], "last words") {
			t.Errorf("on %v: %q", on, got)
		}
	}
}

// A fullFS has no room for a record.
type fullFS struct{ unsyncedFS }

func (f fullFS) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	if !strings.HasSuffix(name, ".excerpt") {
		return nil, errDied
	}
	return f.unsyncedFS.Create(name, perm)
}

// TestOwnLogOnAFullDisk: an excerpt whose number could not be saved is not
// written over by the next one.
func TestOwnLogOnAFullDisk(t *testing.T) {
	g := newRig(t)
	r := g.recorder(nil)
	r.Types = []string{Own}
	r.open()
	r.follow(Level{On: true})
	log := slog.New(r.OwnLog.Handler(slog.DiscardHandler))
	r.FS = fullFS{}
	for _, word := range []string{"one", "two"} {
		log.Info(word)
		r.turn(t.Context(), false)
	}
	if s := r.Status()[0]; s.Error == "" || len(g.arrived(t, Own)) != 0 {
		t.Errorf("status %+v", s)
	}
	r.FS = unsyncedFS{}
	log.Info("three")
	r.turn(t.Context(), false)
	if got := strings.Join(g.arrived(t, Own), " "); !strings.Contains(got, "one") || !strings.Contains(got, "two") || !strings.Contains(got, "three") || strings.Count(got, "msg=") != 3 {
		t.Errorf("%q", got)
	}
}

// TestAClockThatWasNeverSet: journalctl takes no time before 1970.
func TestAClockThatWasNeverSet(t *testing.T) {
	g := newRig(t)
	r := g.recorder(nil)
	r.Now = func() time.Time { return time.Unix(600, 0) }
	r.open()
	r.tracks[0].begin(r)
	if got := r.argv(r.tracks[0].rec.mark, false); !slices.Contains(got, "--since=@0.000000") {
		t.Errorf("%q", got)
	}
}

// TestAKeyOverSeveralEntries: a private key of which a program prints a line at
// a time is not recorded, wherever an excerpt or the agent ends within it.
func TestAKeyOverSeveralEntries(t *testing.T) {
	const secret = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
	g := newRig(t)
	var all strings.Builder
	say := func(from, text string) { g.entries++; fmt.Fprintf(&all, "%s %s\n", from, text) }
	for _, from := range []string{"app", "kernel"} {
		say(from, "-----BEGIN PRIVATE KEY-----")
	}
	for range 100 {
		say("app", secret)
		say("kernel", secret)
		say("other", "of another program")
	}
	for _, from := range []string{"app", "kernel"} {
		say(from, "-----END PRIVATE KEY-----")
		say(from, "after it")
	}
	lines := strings.SplitAfter(all.String(), "\n")
	for n := 50; n <= len(lines); n += 50 { // the journal as far as it has come, read by an agent that was started anew
		if err := os.WriteFile(g.journal, []byte(strings.Join(lines[:n], "")), 0o600); err != nil {
			t.Fatal(err)
		}
		g.now = begin.Add(time.Hour)
		r := g.recorder(nil)
		r.MaxFile, r.History = worth, 2*time.Hour
		r.open()
		r.turn(t.Context(), true)
	}
	if err := os.WriteFile(g.journal, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r := g.recorder(nil)
	r.MaxFile = worth
	r.open()
	r.turn(t.Context(), true)
	for typ, want := range map[string]int{Journal: 2, Kernel: 1} {
		got := strings.Join(g.arrived(t, typ), "\n")
		if strings.Contains(got, secret) || strings.Count(got, "after it") != want {
			t.Errorf("%s: %q", typ, got)
		}
	}
	if got := strings.Join(g.arrived(t, Journal), "\n"); strings.Count(got, "other: of another program") != 100 || !strings.Contains(got, "app: [redacted]") {
		t.Errorf("%q", got)
	}
	if names, _ := filepath.Glob(filepath.Join(g.queue, Journal+"-*.log")); len(names) < 5 {
		t.Errorf("%d excerpts", len(names))
	}
}

func TestALineIsOne(t *testing.T) {
	g := newRig(t)
	r := g.recorder(nil)
	r.Redact = func(s string) string { return strings.ReplaceAll(s, "hunter2", "[redacted]") }
	r.FS = atomicfile.OS{}
	path := filepath.Join(g.dir, "x")
	w, err := newWriter(r, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	w.entry("pass hunter2\nsecond \x1b[31mline\x00\n")
	w.entry(strings.Repeat("ä", maxEntry))
	if n, err := w.close(); err != nil || n > 2*maxEntry {
		t.Fatal(n, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(data), "ä")
	if first != "pass [redacted]\n    second ?[31mline?\n" || !strings.HasSuffix(rest, "ä ...\n") {
		t.Errorf("%.80q ... %.20q", first, rest)
	}
}
