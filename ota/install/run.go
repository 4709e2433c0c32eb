package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

const (
	stopTime = 30 * time.Second // from SIGTERM to SIGKILL
	pipeTime = 2 * time.Second  // for outputs that outlive the hook
)

// An Outcome is how a hook ended and what it said.
type Outcome struct {
	Code       ota.Code          `json:"code"`            // the exit status; -1 if it has none
	Cause      string            `json:"cause,omitempty"` // why there is none: a signal, the time-out
	Settings   map[string]string `json:"settings,omitempty"`
	RetryAfter time.Duration     `json:"retry_after,omitempty"`
	NeedBytes  int64             `json:"need_bytes,omitempty"`
	Text       string            `json:"text,omitempty"`    // the last line of the log
	Log        []string          `json:"-"`                 // at most 64 KiB of lines
	Dropped    int               `json:"dropped,omitempty"` // lines that were not kept
	Faults     []string          `json:"faults,omitempty"`  // lines against the contract
}

// Meaning is what the outcome counts as.
func (o Outcome) Meaning(v ota.Verb) ota.Code { return v.Meaning(o.Code) }

// A Runner runs hooks.
type Runner struct {
	Progress func(percent int, phase string) // told what the hook says of it; may be nil
	Echo     func(line string)               // told each line of the log; may be nil
	Lock     *os.File                        // inherited by the hook, which holds it as long as it lives; may be nil
	stop     time.Duration                   // stopTime if 0
}

// Run runs a hook to its end: until it exits, its time is over, or ctx is done.
// A hook that is to stop gets SIGTERM and 30 s; one that has passed its point of
// no return goes on until its time is over, and is then killed. Errors are those
// of a hook that did not start.
func (r Runner) Run(ctx context.Context, c Call) (Outcome, error) {
	id, err := bootID()
	if err != nil {
		return Outcome{}, err
	}
	said := newReport(r.Progress, r.Echo)
	out, complaint := &stream{report: said, orders: true}, &stream{report: said}
	cmd := exec.Command(c.Hook, string(c.Verb))
	cmd.Dir, cmd.Env = c.StateDir, c.env(bootTime(), id)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, complaint, pipeTime
	if r.Lock != nil {
		cmd.ExtraFiles = []*os.File{r.Lock}
	}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Outcome{}, fmt.Errorf("start hook: %w", err)
	}
	why := r.wait(ctx, cmd, c.Limit, said)
	out.flush()
	complaint.flush()
	o := said.outcome()
	o.Code = -1
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case why != "":
		o.Cause = why
	case status.Signaled():
		o.Cause = "killed by " + unix.SignalName(status.Signal())
	default:
		o.Code = ota.Code(status.ExitStatus())
	}
	return o, nil
}

// wait returns once cmd has ended, and why it was made to.
func (r Runner) wait(ctx context.Context, cmd *exec.Cmd, limit time.Duration, said *report) (why string) {
	ended := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error { defer close(ended); return cmd.Wait() })
	defer func() { _ = g.Wait() }() // the status tells more than its error

	over := time.NewTimer(limit)
	defer over.Stop()
	kill := time.NewTimer(limit) // set anew once the hook was asked to stop
	kill.Stop()
	defer kill.Stop()
	asked := ctx.Done()
	for {
		select {
		case <-ended:
			return why
		case <-asked:
			asked = nil
			if said.pointOfNoReturn() {
				continue // only its time ends it
			}
			why = "stopped on request"
			r.terminate(cmd, kill)
		case <-over.C:
			if asked = nil; why == "" {
				why = fmt.Sprintf("not over after %v", limit)
			}
			if said.pointOfNoReturn() {
				signal(cmd, unix.SIGKILL)
				continue
			}
			r.terminate(cmd, kill)
		case <-kill.C:
			signal(cmd, unix.SIGKILL)
		}
	}
}

func (r Runner) terminate(cmd *exec.Cmd, kill *time.Timer) {
	signal(cmd, unix.SIGTERM)
	if r.stop > 0 {
		kill.Reset(r.stop)
		return
	}
	kill.Reset(stopTime)
}

// signal reaches the hook and what it has started in its process group.
func signal(cmd *exec.Cmd, s unix.Signal) {
	if err := unix.Kill(-cmd.Process.Pid, s); errors.Is(err, unix.ESRCH) {
		_ = cmd.Process.Signal(s) // it has not made its session yet
	}
}
