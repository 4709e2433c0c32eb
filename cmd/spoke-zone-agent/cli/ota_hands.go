package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func (p *Program) otaInstallCommand() *cobra.Command {
	var now bool
	cmd := p.otaOrder("install", "Have an update installed, whatever the policy",
		"Have the newest release of MODULE fetched, if need be, and installed when the window\n"+
			"is open, whatever the module's policy is. What inhibits updates still does. The\n"+
			"answer comes at once: ota status --watch follows the update.",
		func(ctx context.Context, module string) (local.Module, error) {
			return p.client().Install(ctx, module, now)
		})
	cmd.Flags().BoolVar(&now, "now", false, "do not wait for the window")
	return cmd
}

func (p *Program) otaRollbackCommand() *cobra.Command {
	return p.otaOrder("rollback", "Give up an update that is not permanent yet",
		"Give up the update of MODULE: undo it if it is installed and not permanent yet, else\n"+
			"drop it. Its release is passed over from then on, until ota fetch or ota install.\n"+
			"An update that is permanent is not undone: offer the older release again.",
		func(ctx context.Context, module string) (local.Module, error) {
			return p.client().Rollback(ctx, module)
		})
}

// otaOrder is a command about one module that has to be named.
func (p *Program) otaOrder(verb, short, long string, do func(context.Context, string) (local.Module, error)) *cobra.Command {
	return p.talks(&cobra.Command{
		Use: verb + " MODULE", Short: short, Long: long,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeModules,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := do(cmd.Context(), args[0])
			if err != nil {
				return said(cmd, err)
			}
			return p.modulePage([]local.Module{m})
		},
	})
}

func (p *Program) modulePage(ms []local.Module) error {
	_, show, _ := p.otaStatus(nil, ms)
	return show()
}

// otaStatusCommand is otaVerb with a flag to follow.
func (p *Program) otaStatusCommand() *cobra.Command {
	cmd := p.otaVerb("status", "Show how the updates are", p.otaStatus)
	once := cmd.RunE
	var watch bool
	cmd.Flags().BoolVar(&watch, "watch", false, "follow each change: a bar on a terminal, lines elsewhere")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !watch {
			return once(cmd, args)
		}
		asJSON, err := cmd.Flags().GetBool("json")
		if err != nil {
			return err
		}
		return said(cmd, p.watch(cmd.Context(), p.followUpdates(cmd, args, asJSON)))
	}
	return cmd
}

// followUpdates shows what is new of the modules that the arguments name: a bar
// while something is fetched or installed, and a line for each other change.
func (p *Program) followUpdates(cmd *cobra.Command, args []string, asJSON bool) func(local.Status) error {
	shown, bars := map[string]string{}, map[string]*bar{}
	enc := json.NewEncoder(p.Out)
	return func(s local.Status) error {
		ms, err := only(s.OTA, args)
		if err != nil {
			return misuse(cmd, err)
		}
		for _, m := range ms {
			done, total := m.Bytes, m.Total
			if m.Percent > 0 {
				done, total = int64(m.Percent), 100
			}
			line := printable(fmt.Sprintf("%s: %s, %s", m.Module, m.Phase, m.Reason))
			if asJSON {
				text, err := json.Marshal(m)
				if err != nil {
					return err
				}
				line = string(text)
			}
			moving := !asJSON && total > 0 && done < total
			if moving {
				line = m.Phase // the bar tells the rest
				if bars[m.Module] == nil {
					bars[m.Module] = p.newBar(m.Module)
				}
				bars[m.Module].set(done, total)
			} else if b := bars[m.Module]; b != nil {
				b.end()
				delete(bars, m.Module)
			}
			if shown[m.Module] == line {
				continue
			}
			shown[m.Module] = line
			switch {
			case moving:
			case asJSON:
				err = enc.Encode(m)
			default:
				_, err = fmt.Fprintln(p.Out, line)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}
