package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/systemd"
)

func (p *Program) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: "Run the agent in the foreground, as the service manager wants it. SIGTERM and\n" +
			"SIGINT stop it, a second one at once; SIGHUP reads the settings again.",
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return p.run() },
	}
}

// garbage is how much may be allocated before it is collected, in percent of
// what is in use: half of Go's default. A gateway has more cycles than memory
// for the agent: under 1,000 token requests a second it saves 1.5 MB
// (make bench ONLY=tokens).
const garbage = 50

func (p *Program) run() error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	level := new(slog.LevelVar)
	log := systemd.NewLogger(p.Err, level)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, func() {
		stop() // the next signal kills
		systemd.Stopping()
	})
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	defer signal.Stop(hups)

	log.Info("starting", "version", p.Version)
	reload := make(chan struct{}, 1)
	running, end := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return pass(running, hups, reload) })
	g.Go(func() error {
		defer end()
		return p.Daemon(running, Daemon{ConfigPath: p.config, Version: p.Version, Log: log, Level: level, Reload: reload})
	})
	err := g.Wait()
	if err == nil {
		log.Info("stopped")
		return nil
	}
	for line := range strings.Lines(err.Error()) { // faults in the settings come one a line
		log.Error("stopped", "err", strings.TrimRight(line, "\n"))
	}
	f := &failure{code: Internal}
	errors.As(err, &f)
	return silent(f.code)
}

// pass passes signals on; of many that come at once, one is enough.
func pass(ctx context.Context, from <-chan os.Signal, to chan<- struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-from:
			select {
			case to <- struct{}{}:
			default:
			}
		}
	}
}
