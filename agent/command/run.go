package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// grace is how long a program that is told to end (SIGTERM) has for that.
const grace = 5 * time.Second

var errStopped = errors.New("the agent ended it: it stops")

// run runs the program of j to its end and returns the last that it said. What
// it leaves behind in its process group is killed.
func run(ctx context.Context, j job) (*tail, error) {
	out := &tail{}
	cmd := exec.Command(j.argv[0], j.argv[1:]...)
	cmd.Env = []string{"PATH=" + searchPath(), "LANG=C", "COMMAND=" + j.Name}
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(Decode(j.Payload))
	cmd.Stdout, cmd.Stderr = out, out // one writer: os/exec never writes twice at a time then
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // for the output of what left its process group
	if err := cmd.Start(); err != nil {
		return out, err
	}
	late, err := supervise(ctx, cmd.Process.Pid, j.timeout)
	if err != nil {
		_ = cmd.Process.Kill() // it cannot be waited for as it should be
	}
	err = errors.Join(err, cmd.Wait())
	if late {
		err = fmt.Errorf("not done after %v: %w", j.timeout, err)
	}
	return out, err
}

// supervise returns once the process has ended, of itself, at its time limit or
// because ctx is done. It is not reaped yet then, so that its number, which is
// its group's too, still means what it meant.
func supervise(ctx context.Context, pid int, limit time.Duration) (late bool, err error) {
	var g errgroup.Group
	ended := make(chan struct{})
	g.Go(func() error {
		defer close(ended)
		return awaitExit(pid)
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ended:
	case <-ctx.Done():
		terminate(pid, ended)
	case <-timer.C:
		late = true
		terminate(pid, ended)
	}
	err = g.Wait()
	_ = unix.Kill(-pid, unix.SIGKILL) // the group may be empty
	return late, err
}

// terminate asks the process group to end, and kills it after grace.
func terminate(pid int, ended <-chan struct{}) {
	_ = unix.Kill(-pid, unix.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// awaitExit returns when the process has ended and leaves it to be reaped.
func awaitExit(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func searchPath() string {
	if p := os.Getenv("PATH"); p != "" {
		return p
	}
	return "/usr/sbin:/usr/bin:/sbin:/bin"
}
