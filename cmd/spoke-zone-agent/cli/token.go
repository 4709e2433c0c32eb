package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func (p *Program) tokenCommand() *cobra.Command {
	var min time.Duration
	var asJSON bool
	cmd := p.talks(&cobra.Command{
		Use:   "token [NAME]",
		Short: "Print an access token",
		Long: "Print the token of the account NAME, by default the device's own, as soon as there\n" +
			"is one that is valid for long enough. This is for root and members of the group\n" +
			"in the settings' local.group; the daemon logs who asked. With --json it prints one\n" +
			"object, for programs that take a credential from a command: token, expires (RFC 3339,\n" +
			"absent if unknown), stale (the cloud may refuse it) and account.",
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: p.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := p.client().Token(cmd.Context(), account(args), min)
			if err != nil {
				return said(cmd, err)
			}
			if t.Stale {
				fmt.Fprintf(p.Err, "%s: token: this one is stale; see %s status\n", Name, Name)
			}
			if asJSON {
				return writeJSON(p.Out, t)
			}
			_, err = fmt.Fprintln(p.Out, t.Token)
			return err
		},
	})
	cmd.Flags().DurationVar(&min, "min-validity", 0, "want a token that is valid for `TIME` at least, such as 10m")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print token, expires, stale and account as JSON")
	return cmd
}

func (p *Program) renewCommand() *cobra.Command {
	return p.talks(&cobra.Command{
		Use:               "renew [NAME]",
		Short:             "Renew an access token now",
		Long:              "Renew the token of the account NAME, by default the device's own, and wait until it\nis done.",
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: p.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.client().Renew(cmd.Context(), account(args)); err != nil {
				return said(cmd, err)
			}
			_, err := fmt.Fprintf(p.Out, "%s: renewed\n", account(args))
			return err
		},
	})
}

func account(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return local.DeviceAccount
}
