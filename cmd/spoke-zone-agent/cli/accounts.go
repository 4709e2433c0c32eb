package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func (p *Program) accountsCommand() *cobra.Command {
	var asJSON bool
	cmd := p.talks(&cobra.Command{
		Use:   "accounts",
		Short: "Show every cloud account",
		Long: "Show the device's own account and those of accounts.d: the state of each token,\n" +
			"when it is renewed, and the point of no return where there is one.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := p.client().Status(cmd.Context())
			if err != nil {
				return said(cmd, err)
			}
			if asJSON {
				return writeJSON(p.Out, s.Accounts)
			}
			page := &page{now: p.clock().Add(span(s.Clock.ServerOffset)), columns: p.columns()}
			for _, a := range s.Accounts {
				page.account(a)
			}
			_, err = fmt.Fprint(p.Out, page.String())
			return err
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// account writes one account, its name at the left.
func (p *page) account(a local.Account) {
	p.row(a.Account, accountState(a, p.now))
	p.row("  profile", a.Profile+" ("+a.Kind+")")
	p.row("  reason", a.Reason)
	if a.Tail != "" {
		p.row("  ends in", a.Tail)
	}
	p.at("  renew at", a.RenewAt)
	p.at("  no return", a.PointOfNoReturn)
	p.at("  renewed", a.LastRenewal, countOf(a.Renewals, "renewal")+" so far")
	if a.Attempt > 0 {
		p.at("  next try", a.NextTry, fmt.Sprintf("attempt %d", a.Attempt))
	}
	p.at("  limited", a.LimitedUntil)
	p.row("  missing", a.Missing)
	for _, d := range a.Deliveries {
		p.row("  "+d.ID, delivery(d))
	}
	if a.Account != local.DeviceAccount {
		p.row("  keeps", strings.ReplaceAll(strings.Join(a.Keeps, ", "), "_", " "))
	}
}

// delivery tells how one is.
func delivery(d local.Delivery) string {
	text := d.State
	if d.File != "" {
		text = d.File + ": " + text
	}
	if d.Error != "" {
		text += ": " + oneLine(d.Error)
	}
	return text
}

// accounts writes the accounts beside the device's own, whose token has rows of
// its own, and of each delivery that fails or waits why.
func (p *page) accounts(all []local.Account) {
	others := slices.DeleteFunc(slices.Clone(all), func(a local.Account) bool { return a.Account == local.DeviceAccount })
	text := "the device's own alone"
	if len(others) > 0 {
		text = countOf(len(others), "account") + " beside the device's own"
	}
	p.row("Accounts", text)
	for _, a := range all {
		if a.Account != local.DeviceAccount {
			p.row("  "+cutText(oneLine(a.Account), indent-3), accountState(a, p.now))
			p.row("", a.Reason)
			p.row("  missing", a.Missing)
		}
		for _, d := range a.Deliveries {
			if d.State != "delivered" {
				p.row("  "+cutText(oneLine(d.ID), indent-3), delivery(d))
			}
		}
	}
}

// accountState is an account's state and until when it holds.
func accountState(a local.Account, now time.Time) string {
	state := cmp.Or(a.State, "unknown")
	if !a.Expires.IsZero() {
		verb := ", expires "
		if a.Expires.Before(now) {
			verb = ", expired "
		}
		state += verb + timeText(a.Expires, now)
	}
	return state
}
