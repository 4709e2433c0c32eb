package cli

import (
	"fmt"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/ota/install"
	"github.com/spoke-zone/spoke-zone-agent/ota/install/hooktest"
)

func (p *Program) hookTestCommand() *cobra.Command {
	var t hooktest.Test
	var verbose bool
	cmd := &cobra.Command{
		Use:   "hook-test HOOK",
		Short: "Take an installer hook through its contract",
		Long: "Call a hook with each verb of contract version 1, twice where a power cut may ask for it\n" +
			"twice, and print a row for each call: its exit status, its time, and what is wrong. With\n" +
			"--file the hook installs that file on this machine, rolls it back, installs it again and\n" +
			"makes it permanent; without it only the verbs that need no file are tried. The exit status\n" +
			"is 1 if the hook does not keep the contract.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.Hook = args[0]
			if verbose {
				t.Echo = func(line string) { fmt.Fprintf(p.Out, "                        %s\n", printable(line)) }
			}
			return p.hookTest(cmd, t)
		},
	}
	cmd.Flags().StringVar(&t.File, "file", "", "install the payload `FILE`")
	cmd.Flags().StringVar(&t.Module, "module", "test", "the module's `KEY`")
	cmd.Flags().StringVar(&t.Version, "version", "2.0.0", "the `VERSION` of the file")
	cmd.Flags().StringVar(&t.From, "from", "1.0.0", "the `VERSION` that is installed now")
	cmd.Flags().StringVar(&t.Keep, "keep", "", "the `DIR` with what the hook has kept for a rollback")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "print what the hook says")
	return cmd
}

func (p *Program) hookTest(cmd *cobra.Command, t hooktest.Test) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hook, err := filepath.Abs(t.Hook)
	if err != nil {
		return err
	}
	if _, err := install.TrustProgram(hook); err != nil {
		fmt.Fprintf(p.Err, "The installer will refuse it: %s\n", printable(err.Error()))
	}
	calls := 0
	faults, err := t.Run(ctx, func(r hooktest.Row) {
		verdict := "ok"
		if r.Fault != "" {
			verdict = "FAIL"
		}
		calls++
		fmt.Fprintf(p.Out, "%-4s  %-10s  %-33s  %-14s  %6.2f s\n", verdict, r.Verb, r.What, printable(r.Exit), r.Took.Round(10*time.Millisecond).Seconds())
		if r.Fault != "" {
			fmt.Fprintf(p.Out, "      %s\n", printable(r.Fault))
		}
	})
	if err != nil {
		return Exit(Usage, fmt.Errorf("%s%w", doing(cmd), err))
	}
	if faults > 0 {
		return Exit(Ill, fmt.Errorf("%s%s in %s", doing(cmd), countOf(faults, "fault"), countOf(calls, "call")))
	}
	fmt.Fprintf(p.Out, "The hook keeps the contract: %s.\n", countOf(calls, "call"))
	return nil
}
