package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// A terminal is what a Program under test writes.
type terminal struct {
	*Program
	out bytes.Buffer
	err *os.File
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	term := &terminal{err: f}
	term.Program = &Program{Version: "1.2.3", Out: &term.out, Err: f, now: func() time.Time { return noon }}
	return term
}

func (t *terminal) stderr() string {
	b, err := os.ReadFile(t.err.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// An agent in this process answers at a socket with a status.
type agent struct {
	socket string
	mu     sync.Mutex
	status local.Status
}

func (a *agent) change(f func(*local.Status)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&a.status)
}

func (a *agent) get() local.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// start returns what stops the agent.
func (a *agent) start(t *testing.T) (stop func()) {
	t.Helper()
	if a.socket == "" {
		a.socket = filepath.Join(t.TempDir(), "agent.sock")
	}
	s := &local.Server{Socket: a.socket, Log: slog.New(slog.DiscardHandler), Status: a.get}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	for { // until it answers
		if _, err := (&local.Client{Socket: a.socket}).Status(ctx); err == nil || ctx.Err() != nil { // the test may end first
			return stop
		} else if !errors.Is(err, local.ErrNotRunning) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// hups calls f for each SIGHUP of this process, until the test ends.
func hups(t *testing.T, f func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range c {
			f()
		}
	}()
	t.Cleanup(func() { signal.Stop(c); close(c); <-ended })
}

func TestReloadWaitsForTheSettingsToBeInForce(t *testing.T) {
	t.Setenv("MAINPID", "")
	a := &agent{status: local.Status{PID: os.Getpid(), Settings: local.Settings{Generation: 1, Loads: 1}}}
	stop := a.start(t)
	hups(t, func() {
		a.change(func(s *local.Status) { s.Settings.Loads, s.Settings.Pending = 2, true })
		stop() // nobody answers between two generations
		a.change(func(s *local.Status) { s.Settings.Generation, s.Settings.Pending = 2, false })
		a.start(t)
	})
	term := newTerminal(t)
	if got := term.Run([]string{"reload", "--socket", a.socket}); got != OK {
		t.Errorf("exit status %d: %s", got, term.stderr())
	}
	if got := term.out.String(); got != "settings in force, generation 2\n" {
		t.Errorf("got %q", got)
	}
}

func TestReloadTellsEachFault(t *testing.T) {
	a := &agent{status: local.Status{PID: os.Getpid(), Settings: local.Settings{Generation: 3, Loads: 7}}}
	a.start(t)
	hups(t, func() {
		a.change(func(s *local.Status) { s.Settings.Loads, s.Settings.Error = 8, "a.conf:1: one\na.conf:2: two\x1b[2J" })
	})
	t.Setenv("MAINPID", fmt.Sprint(os.Getpid()))
	term := newTerminal(t)
	if got := term.Run([]string{"reload", "--socket", a.socket}); got != Config {
		t.Errorf("exit status %d, want %d", got, Config)
	}
	want := "a.conf:1: one\na.conf:2: two?[2J\nspoke-zone-agent: reload: 2 faults: the settings before stay in force\n"
	if got := term.stderr(); got != want || term.out.Len() > 0 {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReloadFindsNobody(t *testing.T) {
	t.Setenv("MAINPID", "")
	term := newTerminal(t)
	if got := term.Run([]string{"reload", "--socket", filepath.Join(t.TempDir(), "none")}); got != Unreachable {
		t.Errorf("exit status %d, want %d: %s", got, Unreachable, term.stderr())
	}
	t.Setenv("MAINPID", "2147483647")
	if got := term.Run([]string{"reload", "--socket", filepath.Join(t.TempDir(), "none")}); got != Unreachable ||
		!strings.Contains(term.stderr(), "reload: signal process 2147483647: no such process") {
		t.Errorf("exit status %d, want %d: %s", got, Unreachable, term.stderr())
	}
}

func TestRunPassesSignalsOn(t *testing.T) {
	term := newTerminal(t)
	reloads := 0
	term.Daemon = func(ctx context.Context, d Daemon) error {
		if d.ConfigPath != "a.conf" || d.Version != "1.2.3" || d.Log == nil || d.Level == nil {
			t.Errorf("got %+v", d)
		}
		for sig := range strings.SplitSeq("hup hup term", " ") {
			if sig == "hup" {
				syscall.Kill(os.Getpid(), syscall.SIGHUP)
				<-d.Reload
				reloads++
			} else {
				syscall.Kill(os.Getpid(), syscall.SIGTERM)
			}
		}
		<-ctx.Done()
		return nil
	}
	if got := term.Run([]string{"run", "--config", "a.conf"}); got != OK || reloads != 2 {
		t.Errorf("exit status %d after %d reloads: %s", got, reloads, term.stderr())
	}
	if log := term.stderr(); !strings.Contains(log, "msg=starting version=1.2.3") || !strings.Contains(log, "msg=stopped") {
		t.Errorf("got %s", log)
	}
}

func TestRunsExitStatusIsTheDaemons(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
		log  []string
	}{
		{Exit(Config, errors.New("a.conf:1: one\na.conf:2: two")), Config, []string{`err="a.conf:1: one"`, `err="a.conf:2: two"`}},
		{fmt.Errorf("token: %w", os.ErrClosed), Internal, []string{`err="token: file already closed"`}},
	} {
		term := newTerminal(t)
		term.Daemon = func(context.Context, Daemon) error { return tt.err }
		if got := term.Run([]string{"run"}); got != tt.want {
			t.Errorf("%v: exit status %d, want %d", tt.err, got, tt.want)
		}
		for _, line := range tt.log {
			if log := term.stderr(); strings.Count(log, line) != 1 || strings.Contains(log, Name+": ") {
				t.Errorf("%s is not told once in the log: %s", line, log)
			}
		}
	}
}

func TestAWatchSurvivesTheDaemonsRestart(t *testing.T) {
	a := &agent{status: local.Status{Version: "1"}}
	stop := a.start(t)
	term := newTerminal(t)
	term.socket = a.socket
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []string
	err := term.watch(ctx, func(s local.Status) error {
		seen = append(seen, s.Version)
		switch s.Version {
		case "1":
			go func() {
				stop()
				a.change(func(s *local.Status) { s.Version = "2" })
				a.start(t)
			}()
		case "2":
			cancel()
		}
		return nil
	})
	if err != nil || strings.Join(seen, " ") != "1 2" {
		t.Errorf("got %q, %v", seen, err)
	}
}

func TestAWatchOfNothingFails(t *testing.T) {
	term := newTerminal(t)
	if got := term.Run([]string{"status", "--watch", "--socket", filepath.Join(t.TempDir(), "none")}); got != Unreachable {
		t.Errorf("exit status %d, want %d: %s", got, Unreachable, term.stderr())
	}
}

func TestStatusOnceAndScreensOfAWatch(t *testing.T) {
	a := &agent{status: local.Status{Version: "1.2.3"}}
	a.start(t)
	term := newTerminal(t)
	if got := term.Run([]string{"status", "--socket", a.socket}); got != OK {
		t.Fatalf("exit status %d: %s", got, term.stderr())
	}
	once := term.out.String()
	if want := screen(a.get(), noon); !strings.HasPrefix(once, "spoke-zone-agent 1.2.3, ") || len(once) != len(want) {
		t.Errorf("got %q, want %q", once, want)
	}
	term.out.Reset()
	show := term.showScreen(true)
	for range 2 {
		if err := show(local.Status{Version: "1.2.3"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := term.out.String(); strings.Count(got, "spoke-zone-agent 1.2.3") != 2 || strings.Contains(got, "\x1b") || !strings.Contains(got, "\n\n") {
		t.Errorf("without a terminal two screens are %q", got)
	}
	term.out.Reset()
	line := term.showJSON(true)
	if err := line(local.Status{}); err != nil || strings.Count(term.out.String(), "\n") != 1 {
		t.Errorf("a line of JSON is %q, %v", term.out.String(), err)
	}
}

func TestExitStatusOfAnswers(t *testing.T) {
	for code, want := range map[local.Code]int{
		local.Invalid: Usage, local.NotFound: Usage, local.TooLarge: Usage, local.Denied: Refused, local.Refused: Refused,
		local.Busy: Unreachable, local.Unavailable: Unreachable, local.Internal: Internal, local.NoSpace: Internal, "new": Internal,
	} {
		term := newTerminal(t)
		err := said(term.Command(), fmt.Errorf("a: %w", local.Errorf(code, "no")))
		if got := term.report(err); got != want || !strings.HasPrefix(term.stderr(), "spoke-zone-agent: a: no\n") {
			t.Errorf("%s: exit status %d, want %d: %s", code, got, want, term.stderr())
		}
	}
	term := newTerminal(t)
	err := said(term.Command(), fmt.Errorf("%w: %w", local.ErrNotRunning, syscall.EACCES))
	if got := term.report(err); got != Refused || !strings.Contains(term.stderr(), "Run it as root") {
		t.Errorf("no permission: exit status %d: %s", got, term.stderr())
	}
}

func TestProgressWithoutATerminalIsALineATenth(t *testing.T) {
	term := newTerminal(t)
	b := term.newBar("app\x1b[2J")
	for n := int64(0); n <= 1000; n++ {
		b.set(n<<10, 1000<<10)
	}
	b.end()
	lines := strings.Split(strings.TrimSpace(term.stderr()), "\n")
	if len(lines) != 11 || lines[0] != "app?[2J: 0 % of 1000.0 KiB" || lines[10] != "app?[2J: 100 % of 1000.0 KiB" {
		t.Errorf("got %q", lines)
	}
}

func TestTheBarFitsTheTerminal(t *testing.T) {
	const pace = "100.0 MiB, 2.0 MiB/s, 20 s left"
	for _, tt := range []struct {
		done    int64
		columns int
		want    string
	}{
		{45, 80, "display  45 % [#########           ] 100.0 MiB, 2.0 MiB/s, 20 s left"},
		{100, 80, "display 100 % [####################] 100.0 MiB, 2.0 MiB/s, 20 s left"},
		{170, 80, "display 100 % [####################] 100.0 MiB, 2.0 MiB/s, 20 s left"},
		{0, 200, "display   0 % [                    ] 100.0 MiB, 2.0 MiB/s, 20 s left"},
		{45, 50, "display  45 % [#####       ] 100.0 MiB, 2.0 MiB/s"},
		{45, 40, "display  45 % [####      ] 100.0 MiB"},
		{45, 20, "display  45 % [##  "},
		{45, 1, ""},
		{45, 0, ""},
	} {
		if got := barLine("display", pace, tt.done, 100, tt.columns); got != tt.want {
			t.Errorf("%d of 100 in %d columns: got %q, want %q", tt.done, tt.columns, got, tt.want)
		}
	}
}

func TestTheBarTellsThePaceOfThisRun(t *testing.T) {
	b := &bar{first: 40 << 20, start: noon}
	for _, tt := range []struct {
		done  int64
		after time.Duration
		want  string
	}{
		{40 << 20, 0, "100.0 MiB"},
		{41 << 20, 500 * time.Millisecond, "100.0 MiB"},
		{60 << 20, 10 * time.Second, "100.0 MiB, 2.0 MiB/s, 20 s left"},
		{60 << 20, 1000 * time.Second, "100.0 MiB, 20.5 KiB/s, 33 min 20 s left"},
		{10 << 20, 10 * time.Second, "100.0 MiB"}, // it began anew
		{100 << 20, 60 * time.Second, "100.0 MiB, 1.0 MiB/s"},
	} {
		if got := b.pace(tt.done, 100<<20, noon.Add(tt.after)); got != tt.want {
			t.Errorf("%d bytes after %v: got %s, want %s", tt.done, tt.after, got, tt.want)
		}
	}
}
