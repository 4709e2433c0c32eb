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
		Short: "Show how every part of the agent is, on one screen",
		Long: "Show on one screen how the agent is. With --watch the screen follows each change\n" +
			"until it is interrupted; what changed within 5 s is marked with an asterisk. With\n" +
			"--json the same is printed for programs (docs/status.schema.json); both together\n" +
			"print one line of JSON a change. There are no colours where NO_COLOR is set, TERM is\n" +
			"dumb or the output is no terminal.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := p.showScreen(watch)
			if asJSON {
				show = p.showJSON(watch)
			}
			if watch && !asJSON && moves(p.Out) {
				return said(cmd, p.followLive(cmd.Context()))
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

// showScreen writes the screen, and between two of a watch that are on no
// terminal an empty line.
func (p *Program) showScreen(again bool) func(local.Status) error {
	before := ""
	return func(s local.Status) error {
		text := screenIn(s, p.clock(), p.columns())
		if coloured(p.Out) {
			text = paint(text)
		}
		_, err := fmt.Fprint(p.Out, before, text)
		if again {
			before = "\n"
		}
		return err
	}
}
