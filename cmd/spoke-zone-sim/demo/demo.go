// Package demo plays a day of a gateway's life in less than a minute: a cloud
// with short-lived tokens, the real agent beside it, and a screen that tells
// what both do.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// Times of the demo. A token that lives for 7 days has a window of 12 h; this
// one has a life in which three renewals fit on a screen.
const (
	tokenLife = 24 * time.Second
	window    = 12 * time.Second // before expiry
	grace     = 20 * time.Second // after it
	limit     = 55 * time.Second // of the whole demo
)

// releaseSize is that of the offered release, releaseRate how fast it is
// fetched, in bytes per second: slow enough to be seen.
const (
	releaseSize = 12 << 20
	releaseRate = 4 << 20
)

// A Console serves a page for people about a cloud until ctx is done, and
// tells its address first. What it needs on disk it keeps in dir.
type Console func(ctx context.Context, cloud *cloudtest.Cloud, dir string, tell func(address string)) error

// Command returns `spoke-zone-sim demo`, beside which console is served.
func Command(console Console) *cobra.Command {
	var agent string
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play a gateway's life against a simulated cloud, on one screen",
		Long: "Start a simulated Spoke Zone on free ports of this machine and the real agent\n" +
			"against it, let tokens expire, offer a release, drop a data file, cut the\n" +
			"broker, and check what came of it. No root, no network, no fixed port.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return play(ctx, cmd.OutOrStdout(), agent, keep, console)
		},
	}
	cmd.Flags().StringVar(&agent, "agent", "", "run this agent `PROGRAM`; the one beside spoke-zone-sim if empty")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave cloud and agent running afterwards, until interrupted")
	return cmd
}

func play(ctx context.Context, out io.Writer, agent string, keep bool, console Console) (err error) {
	if agent == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		agent = filepath.Join(filepath.Dir(self), "spoke-zone-agent")
	}
	dir, err := os.MkdirTemp("", "spoke-zone-demo-")
	if err != nil {
		return err
	}
	if !keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	s, err := newStage(dir, agent, out)
	if err != nil {
		return err
	}
	defer s.cloud.Close()
	fmt.Fprintf(out, "A gateway's life against a simulated Spoke Zone. Tokens live %v here, 7 days there.\n", tokenLife)
	fmt.Fprintf(out, "API %s, broker %s, files in %s\n\n", s.addrs.API, s.addrs.MQTT, dir)
	if err := s.agent.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var side errgroup.Group
	side.Go(func() error { defer cancel(); return s.agent.wait() }) // nothing to see without the agent
	side.Go(func() error { s.screen.follow(ctx, s.cloud); return nil })
	side.Go(func() error { return console(ctx, s.cloud, dir, s.screen.console) })

	playing, stop := context.WithTimeout(ctx, limit)
	failed := s.acts(playing)
	stop()
	if keep && ctx.Err() == nil {
		s.invite(out)
		<-ctx.Done()
	}
	cancel()
	ended := s.agent.stop()
	return errors.Join(side.Wait(), s.summary(failed), ended)
}

// invite says what can be done with a demo that is left running.
func (s *stage) invite(out io.Writer) {
	agent, config := s.agent.program, filepath.Join(s.dir, "agent.conf")
	fmt.Fprintf(out, "\nLeft running; end it with Ctrl-C. To play with it:\n"+
		"  %s in a browser\n  %s status --watch --config %s\n  echo hello >%s\n  %s renew --config %s\n\n",
		s.screen.where(), agent, config, filepath.Join(s.dir, "spool", "log", "hello.log"), agent, config)
}

// An act is a thing that the demo promises.
type act struct {
	name string
	play func(ctx context.Context) (result string, err error)
}

// acts plays all in order. The first that fails ends the play.
func (s *stage) acts(ctx context.Context) error {
	for _, a := range []act{
		{"comes online with the factory's token", s.comesOnline},
		{"reports its software version", s.reportsVersion},
		{"finds, fetches and verifies a release", s.fetchesRelease},
		{"uploads a dropped data file", s.uploadsFile},
		{"renews its token and reconnects with the new one", s.renews},
		{"comes back after the broker is cut", s.survivesCut},
		{"renews again, by the token of the renewal before", s.renewsAgain},
	} {
		result, err := a.play(ctx)
		s.done = append(s.done, outcome{a.name, result, err})
		if err != nil {
			return err
		}
		s.screen.mark(s.seq, a.name)
	}
	return nil
}

// An outcome is what became of an act.
type outcome struct {
	name, result string
	err          error
}

// summary prints the outcomes.
func (s *stage) summary(failed error) error {
	fmt.Fprintf(s.screen.out, "\nSummary after %.1f s\n", time.Since(s.screen.start).Seconds())
	for _, o := range s.done {
		word, result := "ok  ", o.result
		if o.err != nil {
			word, result = "FAIL", o.err.Error()
		}
		fmt.Fprintf(s.screen.out, "  %s  %-50s %s\n", word, o.name, result)
	}
	if failed != nil {
		s.agent.tail(s.screen.out)
		return errors.New("the demo failed")
	}
	return nil
}

// waitFor is cloud.WaitFor with a reason in its error.
func (s *stage) waitFor(ctx context.Context, what string, match func(cloudtest.Event) bool) (cloudtest.Event, error) {
	e, err := s.cloud.WaitFor(ctx, s.seq, match)
	if err != nil {
		return e, fmt.Errorf("waiting for %s: %w", what, err)
	}
	s.seq = e.Seq
	return e, nil
}
