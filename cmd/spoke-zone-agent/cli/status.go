package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// retryEvery is how long a watch waits for a daemon that has ended.
const retryEvery = time.Second

func (p *Program) statusCommand() *cobra.Command {
	var asJSON, watch bool
	cmd := p.talks(&cobra.Command{
		Use:   "status",
		Short: "Show the state of the token, the session, updates, uploads and the clock",
		Long: "Show on one screen how the agent is. With --watch the screen follows each change\n" +
			"until it is interrupted. With --json the same is printed for programs; both\n" +
			"together print one line of JSON a change.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := p.showScreen(watch)
			if asJSON {
				show = p.showJSON(watch)
			}
			if watch {
				return said(cmd, p.watch(cmd.Context(), show))
			}
			s, err := p.client().Status(cmd.Context())
			if err != nil {
				return said(cmd, err)
			}
			return show(s)
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "follow each change")
	return cmd
}

// watch shows each status until ctx is done or show fails. When the daemon
// ends, as for an upgrade, it waits for the next one; the first must be there.
func (p *Program) watch(ctx context.Context, show func(local.Status) error) error {
	seen := false
	var failed error
	for {
		err := p.client().Watch(ctx, func(s local.Status) error {
			seen = true
			failed = show(s)
			return failed
		})
		var answer *local.Error
		if ctx.Err() != nil || failed != nil || !seen || errors.As(err, &answer) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryEvery):
		}
	}
}

func (p *Program) showJSON(compact bool) func(local.Status) error {
	if compact {
		enc := json.NewEncoder(p.Out)
		return func(s local.Status) error { return enc.Encode(s) }
	}
	return func(s local.Status) error { return writeJSON(p.Out, s) }
}

// showScreen draws over the screen before it, if that is on a terminal.
func (p *Program) showScreen(again bool) func(local.Status) error {
	before := ""
	return func(s local.Status) error {
		text := screen(s, p.clock())
		if again && isTerminal(p.Out) {
			text = "\x1b[H\x1b[2J" + text
		}
		_, err := fmt.Fprint(p.Out, before, text)
		if !isTerminal(p.Out) {
			before = "\n"
		}
		return err
	}
}
