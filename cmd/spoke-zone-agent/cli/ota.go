package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func (p *Program) otaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ota",
		Short: "Look for software updates, fetch and install them, and go back",
		Long:  "Work with the updates of the modules in the settings. Without MODULE a command is\nabout all of them.",
	}
	subcommandsOnly(cmd)
	cmd.AddCommand(
		p.otaVerb("list", "List the modules and what the cloud offers for them", p.otaList),
		p.otaVerb("check", "Ask the cloud for updates now", p.otaCheck),
		p.otaVerb("fetch", "Fetch and verify the updates that are offered", p.otaFetch),
		p.otaStatusCommand(),
		p.otaInstallCommand(),
		p.otaRollbackCommand(),
		p.otaSignCommand(),
	)
	return cmd
}

// otaVerb is a command about the modules of the agent, or the one named.
func (p *Program) otaVerb(verb, short string, do func(cmd *cobra.Command, ms []local.Module) ([]local.Module, func() error, error)) *cobra.Command {
	var asJSON bool
	cmd := p.talks(&cobra.Command{
		Use:               verb + " [MODULE]",
		Short:             short,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: p.completeModules,
		RunE: func(cmd *cobra.Command, args []string) error {
			ms, err := p.client().OTA(cmd.Context())
			if err != nil {
				return said(cmd, err)
			}
			if ms, err = only(ms, args); err != nil {
				return misuse(cmd, err)
			}
			ms, show, failed := do(cmd, ms)
			if asJSON {
				show = func() error { return writeJSON(p.Out, ms) }
			}
			if err := show(); err != nil {
				return err
			}
			return said(cmd, failed)
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, as in the ota part of status --json")
	return cmd
}

// only are the modules that the arguments name.
func only(ms []local.Module, args []string) ([]local.Module, error) {
	if len(args) == 0 {
		return ms, nil
	}
	var names []string
	for _, m := range ms {
		if m.Module == args[0] {
			return []local.Module{m}, nil
		}
		names = append(names, m.Module)
	}
	if names == nil {
		return nil, fmt.Errorf("there is no module %q: the settings have none", args[0])
	}
	return nil, fmt.Errorf("there is no module %q, only %s", args[0], strings.Join(names, ", "))
}

func (p *Program) otaList(_ *cobra.Command, ms []local.Module) ([]local.Module, func() error, error) {
	return ms, func() error {
		w := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "MODULE\tINSTALLED\tOFFERED\tPOLICY\tPHASE")
		for _, m := range ms {
			fmt.Fprintln(w, printable(fmt.Sprintf("%s\t%s\t%s\t%s\t%s", m.Module,
				cmp.Or(m.Installed, "-"), cmp.Or(m.Offered, "-"), m.Policy, m.Phase)))
		}
		return w.Flush()
	}, nil
}

func (p *Program) otaStatus(_ *cobra.Command, ms []local.Module) ([]local.Module, func() error, error) {
	return ms, func() error {
		page := &page{now: p.clock(), columns: p.columns()}
		for _, m := range ms {
			page.row(cutText(oneLine(m.Module), indent-1), moduleText(m))
			page.row("  file", m.File)
			page.row("  sha256", m.SHA256)
			page.at("  checked", m.LastCheck)
			page.at("  next check", m.NextCheck)
			page.row("  reason", m.Reason)
			page.row("  error", m.Error)
			page.row("  denied", m.Denied)
			page.row("  refused", m.Refused)
			page.row("  last", m.Outcome)
		}
		_, err := fmt.Fprint(p.Out, page.String())
		return err
	}, nil
}

func (p *Program) otaCheck(cmd *cobra.Command, ms []local.Module) ([]local.Module, func() error, error) {
	return p.each(ms, func(m local.Module) (local.Module, error) { return p.client().Check(cmd.Context(), m.Module) })
}

func (p *Program) otaFetch(cmd *cobra.Command, ms []local.Module) ([]local.Module, func() error, error) {
	return p.each(ms, func(m local.Module) (local.Module, error) {
		bar := p.newBar(m.Module)
		defer bar.end()
		return p.client().Fetch(cmd.Context(), m.Module, func(m local.Module) {
			if m.Total > 0 {
				bar.set(m.Bytes, m.Total)
			}
		})
	})
}

// each does act on one module after the other. A failure does not keep the
// rest from its turn; the last one is returned.
func (p *Program) each(ms []local.Module, act func(local.Module) (local.Module, error)) ([]local.Module, func() error, error) {
	var failed error
	ms = slices.Clone(ms)
	for i, m := range ms {
		after, err := act(m)
		if err != nil {
			if failed != nil {
				fmt.Fprintf(p.Err, "%s: %s\n", Name, printable(failed.Error()))
			}
			failed = fmt.Errorf("%s: %w", m.Module, err)
		}
		if after.Module != "" {
			ms[i] = after
		}
	}
	return ms, func() error {
		page := &page{columns: p.columns()}
		for _, m := range ms {
			page.row(cutText(oneLine(m.Module), indent-1), moduleText(m))
			page.row("  file", m.File)
			page.row("  sha256", m.SHA256)
		}
		_, err := fmt.Fprint(p.Out, page.String())
		return err
	}, failed
}
