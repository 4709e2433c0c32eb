//go:build integration

package integration

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A session is a shell that runs what a page says: with everything that it
// starts in a group of its own, which ends by itself after two minutes.
type session struct {
	cmd         *exec.Cmd
	out, failed string   // files with what was printed
	alive       *os.File // at its end once nothing of the session runs
}

// shell runs a script in dir and gives up at the first command that fails.
func shell(t *testing.T, dir, script string, env ...string) *session {
	t.Helper()
	shot, err := os.MkdirTemp(t.TempDir(), "shell")
	if err != nil {
		t.Fatal(err)
	}
	s := &session{cmd: exec.Command("timeout", "-k", "5", "120", "sh", "-eu", "-c", script),
		out: filepath.Join(shot, "out"), failed: filepath.Join(shot, "err")}
	s.cmd.Dir = dir
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for path, to := range map[string]func(*os.File){s.out: func(f *os.File) { s.cmd.Stdout = f }, s.failed: func(f *os.File) { s.cmd.Stderr = f }} {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		to(f)
	}
	var held *os.File // by each process
	if s.alive, held, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	s.cmd.ExtraFiles = []*os.File{held}
	err = s.cmd.Start()
	held.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.end(t)
		}
	})
	return s
}

func (s *session) printed() string { return readAll(s.out) }
func (s *session) said() string    { return "printed:\n" + readAll(s.out) + "said:\n" + readAll(s.failed) }

// end ends the shell and all that it started, and waits until nothing of it is
// there.
func (s *session) end(t *testing.T) {
	t.Helper()
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Wait()
	}
	_ = s.alive.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := s.alive.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the end of what the shell started: %v", err)
	}
	s.alive.Close()
}

func readAll(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
