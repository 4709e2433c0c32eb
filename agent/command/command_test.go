package command

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A bench is Commands at work, with what they log.
type bench struct {
	*Commands
	Settings
	t   *testing.T
	dir string
	mu  sync.Mutex
	log bytes.Buffer
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *bench) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// start runs commands until the test ends or stop is called.
func start(t *testing.T, known ...Command) (b *bench, stop func()) {
	t.Helper()
	b = &bench{t: t, dir: t.TempDir()}
	b.Commands = &Commands{Log: slog.New(slog.NewTextHandler(b, nil))}
	b.Settings = Settings{Known: known, Dir: filepath.Join(b.dir, "commands.d")}
	b.Follow(b.Settings)
	if err := os.Mkdir(b.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return b, stop
}

func (b *bench) knows(known ...Command) {
	b.Known = known
	b.Follow(b.Settings)
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) until(what string, is func(Status) bool) Status {
	b.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		s := b.Status()
		if is(s) {
			return s
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("never %s: %+v\n%s", what, s, b.text())
		}
	}
}

func (b *bench) ended(n int) Status {
	b.t.Helper()
	return b.until(strconv.Itoa(n)+" ended", func(s Status) bool { return s.Done+s.Failed == n })
}

func (b *bench) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// sh is a command that runs a line of shell in the bench's directory as $1.
func sh(name, line string, args ...string) Command {
	return Command{Name: name, Run: append([]string{"/bin/sh", "-c", line, "sh"}, args...)}
}

func TestCommandGetsItsPayloadAndNothingElse(t *testing.T) {
	t.Setenv("MQTT_TOKEN", "secret")
	b, _ := start(t)
	b.knows(sh("light/left", `cat >"$1"; env >"$1.env"; pwd >"$1.dir"`, b.path("out")))
	b.Take(Message{Name: "light/left", Payload: []byte(`"{\"button_1\":1}"`)})
	if s := b.ended(1); s.Done != 1 || s.Last != "light/left" {
		t.Fatalf("%+v\n%s", s, b.text())
	}
	if got, want := b.read("out"), `{"button_1":1}`; got != want {
		t.Errorf("standard input was %q, want %q", got, want)
	}
	if env := b.read("out.env"); strings.Contains(env, "secret") || !strings.Contains(env, "COMMAND=light/left\n") {
		t.Errorf("the environment was\n%s", env)
	}
	if got := b.read("out.dir"); got != "/\n" {
		t.Errorf("it ran in %q", got)
	}
}

func TestPayloadIsNoPartOfTheCommandLine(t *testing.T) {
	b, _ := start(t)
	b.knows(Command{Name: "say", Run: []string{"/bin/echo", "$(touch " + b.path("run") + ")", "`id`", ";"}})
	b.Take(Message{Name: "say", Payload: []byte("; touch " + b.path("run"))})
	b.ended(1)
	if _, err := os.Stat(b.path("run")); err == nil {
		t.Error("a shell ran")
	}
	if !strings.Contains(b.text(), "`id` ;") {
		t.Errorf("the output is not in the log:\n%s", b.text())
	}
}

func TestCommandsOfOneNameKeepTheirOrder(t *testing.T) {
	b, _ := start(t)
	b.knows(sh("a", `read -r n; sleep 0.0$((9-n)); echo "$n" >>"$1"`, b.path("out")))
	for n := range 9 {
		b.Take(Message{Name: "a", Payload: []byte(strconv.Itoa(n) + "\n")})
	}
	b.ended(9)
	if got, want := b.read("out"), "0\n1\n2\n3\n4\n5\n6\n7\n8\n"; got != want {
		t.Errorf("they ran as %q, want %q", got, want)
	}
}

func TestCommandsAndTheirQueueAreBounded(t *testing.T) {
	b, _ := start(t)
	for n := range 2 * maxRunning {
		name := "n" + strconv.Itoa(n)
		b.Known = append(b.Known, sh(name, `while [ ! -e "$1" ]; do sleep 0.01; done`, b.path("go")))
	}
	b.Follow(b.Settings)
	for _, k := range b.Known {
		b.Take(Message{Name: k.Name})
	}
	s := b.until("all places taken", func(s Status) bool { return len(s.Running) == maxRunning })
	if s.Queued != maxRunning {
		t.Errorf("%d wait, want %d", s.Queued, maxRunning)
	}
	for range maxQueued {
		b.Take(Message{Name: "n0"})
	}
	if s := b.Status(); s.Queued != maxQueued || s.Dropped != maxRunning {
		t.Errorf("%d wait and %d were dropped, want %d and %d", s.Queued, s.Dropped, maxQueued, maxRunning)
	}
	if err := os.WriteFile(b.path("go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := b.ended(maxQueued + maxRunning); s.Failed != 0 {
		t.Errorf("%+v\n%s", s, b.text())
	}
}

func TestCommandOutOfTimeIsEndedWithItsChildren(t *testing.T) {
	b, _ := start(t)
	slow := sh("slow", `sleep 1000 & echo $! >"$1"; wait`, b.path("pid"))
	slow.Timeout = 300 * time.Millisecond
	b.knows(slow)
	b.Take(Message{Name: "slow"})
	s := b.ended(1)
	if s.Failed != 1 || !strings.Contains(s.LastError, "not done after 300ms") {
		t.Errorf("%+v", s)
	}
	b.gone("pid")
}

func TestCommandThatIgnoresTheSignalIsKilled(t *testing.T) {
	b, stop := start(t)
	b.knows(sh("deaf", `trap "" TERM; echo $$ >"$1"; while :; do sleep 0.05; done`, b.path("pid")))
	b.Take(Message{Name: "deaf"})
	b.until("started", func(Status) bool { _, err := os.Stat(b.path("pid")); return err == nil })
	stop()
	if s := b.Status(); s.Failed != 1 || s.LastError != errStopped.Error() {
		t.Errorf("%+v", s)
	}
	b.gone("pid")
}

func TestWhatACommandLeavesBehindIsKilled(t *testing.T) {
	b, _ := start(t)
	b.knows(sh("fork", `sleep 1000 & echo $! >"$1"`, b.path("pid")))
	b.Take(Message{Name: "fork"})
	if s := b.ended(1); s.Done != 1 {
		t.Errorf("%+v", s)
	}
	b.gone("pid")
}

// gone waits until the process whose number is in the file is no more.
func (b *bench) gone(file string) {
	b.t.Helper()
	pid := strings.TrimSpace(b.read(file))
	b.until("process "+pid+" gone", func(Status) bool {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || bytes.Contains(stat, []byte(") Z ")) // a zombie of whoever inherited it
	})
}

// TestNewSettingsDisturbNoProgramThatRuns has one wait for a file while other
// settings come, and two messages behind it.
func TestNewSettingsDisturbNoProgramThatRuns(t *testing.T) {
	b, _ := start(t)
	b.knows(
		sh("slow", `until [ -e "$1" ]; do sleep 0.01; done; echo old >>"$2"`, b.path("go"), b.path("out")),
		Command{Name: "gone", Run: []string{"/bin/true"}},
	)
	for range maxRunning { // of one name, so that all but the first wait
		b.Take(Message{Name: "slow"})
	}
	b.until("one runs", func(s Status) bool { return len(s.Running) == 1 && s.Queued == maxRunning-1 })
	b.knows(sh("slow", `echo new >>"$1"`, b.path("out")))
	if s := b.Status(); len(s.Running) != 1 || s.Queued != maxRunning-1 {
		t.Errorf("after the new settings %+v", s)
	}
	b.Take(Message{Name: "gone"})
	if err := os.WriteFile(b.path("go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if s := b.ended(maxRunning); s.Failed != 0 || s.Unknown != 1 {
		t.Errorf("%+v\n%s", s, b.text())
	}
	if got, want := b.read("out"), "old\n"+strings.Repeat("new\n", maxRunning-1); got != want {
		t.Errorf("ran %q, want %q", got, want)
	}
}

func TestRetainedCopies(t *testing.T) {
	b, _ := start(t)
	yes := sh("yes", "exit 0")
	yes.Retained = true
	b.knows(sh("no", "exit 0"), yes)
	b.Take(Message{Name: "no", Retained: true})
	b.Take(Message{Name: "yes", Retained: true})
	if s := b.ended(1); s.Ignored != 1 || s.Last != "yes" {
		t.Errorf("%+v", s)
	}
}

func TestProgramsOfTheDirectory(t *testing.T) {
	b, _ := start(t)
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(b.Dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\nexec cat >" + b.path("out") + "\n"
	write("door/open", script, 0o755)
	write("text", script, 0o644)
	write("loose", script, 0o777)
	for name, want := range map[string]string{"text": "is no program", "loose": "can be changed by others"} {
		b.Take(Message{Name: name})
		if s := b.Status(); !strings.Contains(s.LastError, want) {
			t.Errorf("%s: %q, want %q", name, s.LastError, want)
		}
	}
	for _, name := range []string{"door", "door/open/more", "none"} {
		b.Take(Message{Name: name, Base: "mrs/d/7", Payload: []byte("seven b")})
	}
	if s := b.Status(); s.Unknown != 3 {
		t.Errorf("%d unknown, want 3", s.Unknown)
	}
	if text := b.text(); strings.Contains(text, "seven") || !strings.Contains(text, `msg="command not known" topic=mrs/d/7/ctrl/none bytes=7`) {
		t.Errorf("an unknown command is not told by its size alone:\n%s", text)
	}
	b.Take(Message{Name: "door/open", Payload: []byte("1")})
	if s := b.ended(3); s.Done != 1 || b.read("out") != "1" {
		t.Errorf("%+v\n%s", s, b.text())
	}
}

func TestBuiltinComesFirst(t *testing.T) {
	b, _ := start(t, sh("diagnostics", "exit 1"))
	var got []Message
	b.Builtin = map[string]func(Message) error{"diagnostics": func(m Message) error {
		got = append(got, m)
		return nil
	}}
	b.Follow(b.Settings)
	b.Take(Message{Name: "diagnostics", Payload: []byte("{}"), Retained: true})
	if s := b.Status(); s.Done != 1 || len(got) != 1 || !got[0].Retained {
		t.Errorf("%+v, handed over %v", s, got)
	}
}

func TestOutputInTheLogIsBounded(t *testing.T) {
	b, _ := start(t, sh("loud", `head -c 1000000 /dev/zero | tr '\0' x; echo the end`))
	b.Take(Message{Name: "loud"})
	if s := b.ended(1); s.Done != 1 {
		t.Fatalf("%+v", s)
	}
	text := b.text()
	if len(text) > 2*maxOutput || !strings.Contains(text, "the end") || !strings.Contains(text, "(997960 bytes before)") {
		t.Errorf("%d bytes of log: %.200s", len(text), text)
	}
}
