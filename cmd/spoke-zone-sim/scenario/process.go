package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// stopTime is how long a process may take to end in order.
const stopTime = 15 * time.Second

// A process is a program of the gateway. The zero value has not been started.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it is gone
	err   error         // how it ended
	group errgroup.Group
}

func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// start runs program with args, which add to the file log what they say.
func (p *process) start(log, program string, args ...string) error {
	if p.running() {
		return errors.New("it is running already")
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (build it, or name it with --agent)", err)
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	ended := p.ended
	p.group.Go(func() error {
		p.err = cmd.Wait()
		close(ended)
		return nil
	})
	return nil
}

// kill ends it with kill -9, if it runs.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may be gone
		_ = p.group.Wait()
	}
}

// stop ends it as an init system would.
func (p *process) stop() error {
	if !p.running() {
		return errors.New("it is not running")
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	over := time.AfterFunc(stopTime, func() { _ = p.cmd.Process.Kill() })
	defer over.Stop()
	_ = p.group.Wait()
	if p.err != nil {
		return fmt.Errorf("it ended with: %w", p.err)
	}
	return nil
}

// memory is the most that it has had in memory, in bytes.
func (p *process) memory() (int64, error) {
	if !p.running() {
		return 0, errors.New("it is not running")
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("the system does not tell")
}

// output is what a command of the agent prints, whatever its exit status.
func (s *stage) output(ctx context.Context, args ...string) string {
	out, err := exec.CommandContext(ctx, s.program, append(args, "--config", s.path("agent.conf"))...).CombinedOutput()
	if err != nil && len(out) == 0 {
		return err.Error()
	}
	return string(out)
}

// tail prints the end of a log.
func tail(out io.Writer, name, file string) {
	b, err := os.ReadFile(file)
	if err != nil || len(b) == 0 {
		return
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	fmt.Fprintf(out, "\nThe log of %s ends:\n%s", name, bytes.Join(lines[max(0, len(lines)-25):], nil))
}
