package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// completeWithin is how long a person who presses the tabulator waits for the
// daemon; without it the settings tell what there is.
const completeWithin = 300 * time.Millisecond

// live is the daemon's status, if it answers at once. Completions say nothing
// of what goes wrong.
func (p *Program) live(ctx context.Context) (local.Status, bool) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	s, err := p.client().Status(ctx)
	return s, err == nil
}

// completion is one word to choose, with what a shell shows beside it.
func completion(word, about string) string {
	if word = oneLine(word); about == "" {
		return word
	}
	return word + "\t" + cutText(oneLine(about), 60)
}

// completeAccounts offers the accounts, each with the state of its token.
func (p *Program) completeAccounts(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	if s, ok := p.live(cmd.Context()); ok {
		for _, a := range s.Accounts {
			names = append(names, completion(a.Account, strings.TrimSpace(a.Profile+" "+a.State)))
		}
	} else {
		names = append(names, local.DeviceAccount)
		c, _ := conf.Load(p.config)
		all, _ := conf.LoadAccounts(c.Paths.Accounts)
		for _, a := range all {
			names = append(names, completion(a.Name, ""))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeModules offers the modules, each with its versions.
func (p *Program) completeModules(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var keys []string
	if s, ok := p.live(cmd.Context()); ok {
		for _, m := range s.OTA {
			keys = append(keys, completion(m.Module, moduleText(m)))
		}
	} else {
		c, _ := conf.Load(p.config) // what can be read of it is good enough here
		for _, m := range c.Modules {
			keys = append(keys, completion(m.Key, ""))
		}
	}
	return keys, cobra.ShellCompDirectiveNoFileComp
}

// completeModuleFlag is completeModules for a flag, whatever else is typed.
func (p *Program) completeModuleFlag(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return p.completeModules(cmd, nil, begun)
}
