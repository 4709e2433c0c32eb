//go:build integration

package watch

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// initLines are what the manual has init keep running, for the device of the
// test, with a guard that is in a hurry.
func initLines(d device) (lines []string) {
	text, err := os.ReadFile("../../docs/signing.md")
	must(d.T, err)
	for _, line := range strings.Split(string(text), "\n") {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "::respawn:"); ok {
			lines = append(lines, strings.NewReplacer("/usr/bin/spoke-zone-agent", d.binary, "/var/lib/spoke-zone-installer", work+"/installer",
				"sleep 600", "sleep 1", "--guard", "--guard --after 3s").Replace(command))
		}
	}
	if len(lines) != 2 || !strings.Contains(lines[1], "sleep 1;") || !strings.Contains(lines[1], "--after 3s") {
		d.Fatalf("the lines for init are %q", lines)
	}
	return lines
}

// respawn keeps a command running until the end of the test, as init does.
func (d device) respawn(line string) {
	log, err := os.OpenFile(work+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(d.T, err)
	over := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		for {
			cmd := exec.Command("sh", "-c", line)
			cmd.Stdout, cmd.Stderr = log, log
			cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				return err
			}
			ended := make(chan struct{})
			var w errgroup.Group
			w.Go(func() error { defer close(ended); return cmd.Wait() })
			select {
			case <-ended:
				_ = w.Wait()
			case <-over:
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				_ = w.Wait()
				return nil
			}
		}
	})
	d.Cleanup(func() {
		close(over)
		must(d.T, g.Wait(), log.Close())
	})
}

// TestTheGuardWithoutSystemd installs a version with which the agent does not
// start any more and whose hook does not work: the guard that init runs goes
// back, and the agent that is back says so.
func TestTheGuardWithoutSystemd(t *testing.T) {
	if !isolated(t) {
		return
	}
	d := newDevice(t)
	for _, line := range initLines(d) {
		d.respawn(line)
	}
	d.offer("1.3")
	killAgent := d.start("run", "--config", work+"/agent.conf")
	d.eventually("the hook installs 1.3", func() bool { return d.calls("install 1.3") == 1 })
	killAgent()
	write(t, work+"/go", "", 0o600)
	d.eventually("1.3 is undone", func() bool { return d.calls("rollback 1.3") == 1 && read(work+"/version") == "1.0" })
	if text := read(etc + "/hooks.d/screen"); text != strings.TrimSpace(hook) {
		t.Errorf("the hook is\n%s", text)
	}
	d.start("run", "--config", work+"/agent.conf")
	d.eventually("the agent says why", func() bool {
		m, err := d.module()
		return err == nil && strings.HasPrefix(m.Outcome, "1.3 FAILED") && strings.Contains(m.Outcome, "undone without the agent") && m.Phase == "IDLE"
	})
	if n := d.calls("verify 1.3") + d.calls("commit 1.3"); n > 0 || d.calls("install 1.3") != 1 {
		t.Errorf("calls\n%s", read(work+"/calls"))
	}
}
