package install

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Systemd reports whether systemd is the first process here.
func Systemd() bool {
	info, err := os.Stat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// starter returns the command that runs the job of file in a life of its own:
// in a transient unit where systemd is, else in a session of its own. program is
// this program.
func starter(program, key, file string, limit time.Duration, systemd bool) *exec.Cmd {
	if !systemd {
		cmd := exec.Command(program, "hook-run", file)
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		return cmd
	}
	seconds := func(d time.Duration) string { return fmt.Sprintf("%ds", int(d/time.Second)) }
	args := []string{"--quiet", "--collect", "--wait", "--unit=spoke-ota-" + unitName(key),
		"--description=Spoke.Zone update: " + key}
	for _, p := range []string{
		"KillMode=mixed", // first hook-run alone, which stops the hook as the contract says
		"TimeoutStopSec=" + seconds(limit+2*stopTime),
		"RuntimeMaxSec=" + seconds(limit+4*stopTime),
		"PrivateNetwork=yes", "UMask=0022", "SendSIGHUP=no", "OOMScoreAdjust=-200",
	} {
		args = append(args, "--property="+p)
	}
	return exec.Command("systemd-run", append(args, program, "hook-run", file)...)
}

// unitName is key in the letters that a unit's name may have.
func unitName(key string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_.", r) {
			return r
		}
		return '_'
	}, key)
}

// reboot asks for a reboot and returns once it is asked for.
func reboot(systemd bool) error {
	cmd := exec.Command("reboot")
	if systemd {
		cmd = exec.Command("systemctl", "--no-block", "reboot")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("reboot: %w: %s", err, plain(strings.TrimSpace(string(out)), 200))
	}
	return nil
}

// spawn starts a job in a process of its own.
func (i *Installer) spawn(j job) (wait func() error, err error) {
	cmd := starter(i.Program, j.Key, j.file(), j.Call.Limit, i.systemd)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Wait, cmd.Start()
}

// run starts a job and waits until it is answered.
func (i *Installer) run(ctx context.Context, j job) error {
	if err := disk.MkdirAll(j.Call.KeepDir, 0o700); err != nil {
		return err
	}
	if err := disk.SyncDir(i.path("keep")); err != nil {
		return err
	}
	// Should a power cut bring it back, the job that is on disk by then replaces it.
	if err := remove(i.path("results", j.Key+answerSuffix)); err != nil {
		return err
	}
	if err := writeJSON(j.file(), j, 0o600); err != nil {
		return err
	}
	wait, err := i.start(j)
	if err != nil {
		return j.settle(ctx, "it was not started: "+err.Error())
	}
	ended := make(chan error, 1)
	var g errgroup.Group
	g.Go(func() error { ended <- wait(); return nil })
	select {
	case err := <-ended:
		why := "its process ended without a word"
		if err != nil {
			why = err.Error()
		}
		return j.settle(ctx, why)
	case <-ctx.Done():
		return ctx.Err() // the job goes on; the next run waits for it
	}
}
