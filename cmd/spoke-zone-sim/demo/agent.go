package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// An agent is the real program as a process of its own.
type agent struct {
	program string
	config  string
	log     string
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone
	err     error         // how it ended
}

func (a *agent) start() error {
	log, err := os.Create(a.log)
	if err != nil {
		return err
	}
	defer log.Close()
	a.ended = make(chan struct{})
	a.cmd = exec.Command(a.program, "run", "--config", a.config)
	a.cmd.Stderr = log
	if err := a.cmd.Start(); err != nil {
		return fmt.Errorf("start the agent: %w (build it, or name it with --agent)", err)
	}
	return nil
}

// wait returns when the process is gone.
func (a *agent) wait() error {
	a.err = a.cmd.Wait()
	close(a.ended)
	return nil
}

// stop ends the agent as systemd would, and by force after 10 s.
func (a *agent) stop() error {
	_ = a.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	kill := time.AfterFunc(10*time.Second, func() { _ = a.cmd.Process.Kill() })
	defer kill.Stop()
	<-a.ended
	if a.err != nil {
		return fmt.Errorf("the agent ended with: %w", a.err)
	}
	return nil
}

// ask runs one command of the agent's.
func (a *agent) ask(ctx context.Context, args ...string) ([]byte, error) {
	return exec.CommandContext(ctx, a.program, append(args, "--config", a.config)...).CombinedOutput()
}

// tail prints the end of the agent's log.
func (a *agent) tail(out io.Writer) {
	b, err := os.ReadFile(a.log)
	if err != nil {
		return
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	fmt.Fprintf(out, "\nThe agent's log ends:\n%s", bytes.Join(lines[max(0, len(lines)-25):], nil))
}
