package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/conf"
	"github.com/spoke-zone/spoke-zone-agent/ota/install"
	"github.com/spoke-zone/spoke-zone-agent/systemd"
)

// DefaultPolicy is the file with the installer's policy.
const DefaultPolicy = "/etc/spoke-zone-agent/install.conf"

// installRunCommand is what spoke-zone-install.service starts.
func (p *Program) installRunCommand() *cobra.Command {
	var policy string
	var watch, guard bool
	after := install.GuardAfter
	cmd := &cobra.Command{
		Use:    "install-run",
		Short:  "Answer the daemon's requests to install updates",
		Args:   args(cobra.NoArgs),
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.privileged(cmd, func(ctx context.Context, log *slog.Logger) error {
				i, err := installer(policy, log)
				if err != nil {
					return err
				}
				switch {
				case guard:
					return i.Guard(ctx, after)
				case watch:
					return i.Watch(ctx)
				}
				return i.Run(ctx)
			})
		},
	}
	cmd.Flags().StringVar(&policy, "policy", DefaultPolicy, "read the policy from `FILE`")
	cmd.Flags().BoolVar(&watch, "watch", false, "wait for further requests, where no systemd does")
	cmd.Flags().BoolVar(&guard, "guard", false, "undo updates that nobody proves, instead of answering requests")
	cmd.Flags().DurationVar(&after, "after", after, "with --guard: how `LONG` the daemon may be silent")
	cmd.MarkFlagsMutuallyExclusive("watch", "guard")
	return cmd
}

// hookRunCommand is what the installer starts for each hook.
func (p *Program) hookRunCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "hook-run JOB",
		Short:  "Run one hook for the installer",
		Args:   args(cobra.ExactArgs(1)),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.privileged(cmd, func(ctx context.Context, log *slog.Logger) error {
				return install.RunJob(ctx, args[0], log)
			})
		},
	}
}

// privileged runs what is root's alone, until it is stopped.
func (p *Program) privileged(cmd *cobra.Command, do func(context.Context, *slog.Logger) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if os.Geteuid() != 0 {
		return Exit(Refused, fmt.Errorf("%sonly root may do this", doing(cmd)))
	}
	err := do(ctx, systemd.NewLogger(p.Err, new(slog.LevelVar)))
	if err == nil || ctx.Err() != nil {
		return nil // what was begun goes on in a process of its own
	}
	return fmt.Errorf("%s%w", doing(cmd), err)
}

// installer takes its policy from a file that is root's alone. With one that is
// not, or has faults, it still answers: nothing is installed then.
func installer(file string, log *slog.Logger) (*install.Installer, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, policyErr := conf.LoadInstall(file)
	if _, err := os.Lstat(file); err == nil && policyErr == nil {
		_, policyErr = install.Trust(file)
	}
	if policyErr != nil {
		log.Error("no policy", "err", policyErr)
	}
	return &install.Installer{
		Agent: c.Agent, State: c.State, Dir: c.Run, MaxPayload: c.MaxPayload, KeepDone: c.KeepDone, Program: program, Log: log,
		Rule: func(module string) (install.Rule, error) {
			r := c.Rule(module)
			return install.Rule{Hook: r.Hook, Require: r.Require, Keys: r.Keys, Rollback: r.Rollback}, policyErr
		},
	}, nil
}
