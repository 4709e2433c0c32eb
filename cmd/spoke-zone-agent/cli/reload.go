package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

const (
	reloadTimeout = 30 * time.Second
	reloadEvery   = 100 * time.Millisecond
)

func (p *Program) reloadCommand() *cobra.Command {
	return p.talks(&cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its settings again",
		Long: "Send SIGHUP to the daemon and wait until the settings are in force. If they have\n" +
			"faults, the daemon keeps those it has and reload fails with each fault.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), reloadTimeout)
			defer cancel()
			return p.reload(ctx, cmd)
		},
	})
}

func (p *Program) reload(ctx context.Context, cmd *cobra.Command) error {
	c := p.client()
	before, err := c.Status(ctx)
	pid, _ := strconv.Atoi(os.Getenv("MAINPID")) // set by systemd for ExecReload
	switch {
	case pid > 0: // perhaps the socket is yet to move to where the new settings want it
	case err != nil:
		return said(cmd, err)
	default:
		if pid, err = c.PID(ctx); err != nil {
			return said(cmd, err)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); errors.Is(err, syscall.EPERM) {
		return &failure{Refused, fmt.Errorf("reload: signal process %d: %w", pid, err), "Run it as root"}
	} else if err != nil {
		return Exit(Unreachable, fmt.Errorf("reload: signal process %d: %w", pid, err))
	}
	after, err := reloaded(ctx, c, before)
	if err != nil {
		return said(cmd, err)
	}
	if after.Error != "" {
		faults := strings.Count(after.Error, "\n") + 1
		fmt.Fprintln(p.Err, printable(after.Error))
		return Exit(Config, fmt.Errorf("reload: %s: the settings before stay in force", countOf(faults, "fault")))
	}
	_, err = fmt.Fprintf(p.Out, "settings in force, generation %d\n", after.Generation)
	return err
}

// reloaded waits until the settings have been read after what before says.
// While one generation gives way to the next, nobody answers.
func reloaded(ctx context.Context, c *local.Client, before local.Status) (local.Settings, error) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		now, err := c.Status(ctx)
		switch {
		case err == nil && !now.Settings.Pending && (now.Settings.Loads > before.Settings.Loads || now.PID != before.PID):
			return now.Settings, nil
		case err != nil && ctx.Err() == nil && !passing(err):
			return local.Settings{}, err
		}
		select {
		case <-ctx.Done():
			return local.Settings{}, local.Errorf(local.Unavailable, "the daemon has not read its settings within %v", reloadTimeout)
		case <-tick.C:
		}
	}
}

// passing reports a failure that a daemon between two generations explains.
func passing(err error) bool {
	var answer *local.Error
	return !errors.As(err, &answer) || answer.Code == local.Busy
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
