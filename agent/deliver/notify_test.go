package deliver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// script is a program in a folder of the test's.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAProgramLearnsWhatButNotTheToken(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("CLOUD_TOKEN", "sesame")
	n := Notify{Argv: []string{script(t, `{ echo "$@"; env; tr '\0' ' ' </proc/$$/cmdline; cat; echo; pwd; } >"$1"`), out, "; rm -rf x"}}
	if err := n.tell(t.Context(), Target{ID: "app", File: "/run/app/token"}, Token{Account: "x", Value: "sesame"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	said := string(b)
	for _, want := range []string{out + " ; rm -rf x\n", "SPOKE_ZONE_ACCOUNT=x\n", "SPOKE_ZONE_DELIVERY=app\n", "SPOKE_ZONE_FILE=/run/app/token\n", "\n/\n", "PWD=/\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("it saw %s\nwant %q among it", said, want)
		}
	}
	if strings.Contains(said, "sesame") {
		t.Errorf("it saw the token: %s", said)
	}
}

func TestAProgramsComplaintIsBoundedAndHoldsNoToken(t *testing.T) {
	for _, text := range []string{
		"cat /proc/self/status; echo sesame; exit 3",
		"echo '  sesame  ' >&2; exit 3",
		`i=0; while [ $i -lt 2000 ]; do printf sesame; i=$((i+1)); done; exit 3`,
		`printf 'a%.0s' $(seq 1020); printf sesame; printf b; exit 3`,
	} {
		err := Notify{Argv: []string{script(t, text)}}.tell(t.Context(), Target{}, Token{Value: "sesame"})
		if err == nil || !strings.Contains(err.Error(), "exit status 3") || len(err.Error()) > 1000 || strings.Contains(err.Error(), "sesa") {
			t.Errorf("%s: got %v", text, err)
		}
	}
	if err := (Notify{Argv: []string{"/nonexistent/program"}}).tell(t.Context(), Target{}, Token{Value: "x"}); err == nil {
		t.Error("a program that is not there: no error")
	}
}

func TestAProgramThatHangsIsEndedWithItsChildren(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	pid, program := 0, script(t, `sleep 600 & echo $! >"$1"; wait`)
	for limit := 300 * time.Millisecond; pid == 0; limit *= 2 { // until it is enough for the program to start its child
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err := run(ctx, []string{program, pidFile}, nil, Token{Value: "x"})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "deadline") {
			t.Fatalf("got %v, want a deadline", err)
		}
		if pid, _, err = readPID(pidFile); err != nil && limit > time.Minute {
			t.Fatal(err)
		}
	}
	for range 600 { // init reaps it in its own time
		stat, rerr := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if rerr != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("its child %d runs on", pid)
}

func TestAReloadAsksSystemd(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\necho \"$@\" >"+dir+"/asked; exit $(cat "+dir+"/code)\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	n := Notify{Unit: "app.service"}
	for _, code := range []string{"0", "1"} {
		if err := os.WriteFile(filepath.Join(dir, "code"), []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		err := n.tell(t.Context(), Target{}, Token{Value: "x"})
		if (err == nil) != (code == "0") || err != nil && !strings.Contains(err.Error(), "deliver.path") {
			t.Errorf("exit status %s: got %v", code, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "asked")); string(b) != "--no-ask-password try-reload-or-restart -- app.service\n" || err != nil {
		t.Errorf("it was asked %q, %v", b, err)
	}
}

// write makes a pid file.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.pid")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASignalReachesTheProcessOfThePidFile(t *testing.T) {
	cmd := exec.Command(script(t, `trap 'echo got; exit 0' HUP; echo ready; while :; do sleep 0.05; done`))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, err := out.Read(buf); err != nil || string(buf[:n]) != "ready\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if err := (Notify{PIDFile: write(t, fmt.Sprintf(" %d\n", cmd.Process.Pid)), Signal: unix.SIGHUP}).tell(t.Context(), Target{}, Token{}); err != nil {
		t.Errorf("signal: %v", err)
		_ = cmd.Process.Kill()
	}
	if n, err := out.Read(buf); err != nil || string(buf[:n]) != "got\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program: %v", err)
	}
}

func TestPidFilesThatAreNotTrusted(t *testing.T) {
	heard := make(chan os.Signal, 8)
	signal.Notify(heard, unix.SIGHUP)
	defer signal.Stop(heard)
	gone := exec.Command("/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	writable := write(t, "2")
	if err := os.Chmod(writable, 0o666); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(write(t, "2"), link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, say string }{
		{"PID 1", write(t, "1"), "gets no signal"},
		{"a group", write(t, "-5"), "gets no signal"},
		{"ourselves", write(t, fmt.Sprint(os.Getpid())), "gets no signal"},
		{"a process that is gone", write(t, fmt.Sprint(gone.Process.Pid)), "is stale"},
		{"words", write(t, "12 34"), "holds no number"},
		{"nothing", write(t, ""), "holds no number"},
		{"too much", write(t, strings.Repeat("1", 64)), "holds no number"},
		{"everybody's file", writable, "everybody may write it"},
		{"a link", link, "pid file"},
		{"no file", "/nonexistent/pid", "no such file"},
		{"a directory", t.TempDir(), "no regular file"},
	} {
		if err := (Notify{PIDFile: tt.path, Signal: unix.SIGHUP}).tell(t.Context(), Target{}, Token{}); err == nil || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.say)
		}
	}
	if os.Geteuid() == 0 { // another's file may not name a process of root's
		theirs := write(t, fmt.Sprint(os.Getppid()))
		if err := os.Chown(theirs, 4711, 4711); err != nil {
			t.Fatal(err)
		}
		if err := (Notify{PIDFile: theirs, Signal: unix.SIGURG}).tell(t.Context(), Target{}, Token{}); err == nil || !strings.Contains(err.Error(), "may not name it") {
			t.Errorf("another user's file: %v", err)
		}
	}
	select {
	case s := <-heard:
		t.Errorf("we got %v", s)
	default:
	}
}
