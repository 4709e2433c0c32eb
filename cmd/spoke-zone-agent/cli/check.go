package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	daemon "github.com/spoke-zone/spoke-zone-agent/agent"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

func (p *Program) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check the settings",
		Long: "Read the settings as the daemon would and print every fault, one a line, as\n" +
			"FILE:LINE: SECTION.KEY: what is wrong (what is allowed). No daemon is needed.",
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return p.check() },
	}
}

func (p *Program) check() error {
	c, err := conf.Load(p.config)
	faults := 0
	var known conf.Faults
	switch {
	case errors.As(err, &known):
		faults = len(known)
	case err != nil:
		faults = 1
	}
	if err != nil {
		fmt.Fprintln(p.Err, printable(err.Error()))
	}
	if _, err := c.Cloud.Roots(); err != nil {
		faults++
		fmt.Fprintf(p.Err, "%s: %s\n", p.config, printable(err.Error()))
	}
	if err := daemon.CheckAccounts(c.Paths.Accounts); err != nil {
		lines := strings.Split(printable(err.Error()), "\n")
		faults += len(lines)
		fmt.Fprintln(p.Err, strings.Join(lines, "\n"))
	}
	if faults > 0 {
		return Exit(Config, fmt.Errorf("check: %s in the settings", countOf(faults, "fault")))
	}
	good := "the settings are good"
	if _, err := os.Stat(p.config); errors.Is(err, fs.ErrNotExist) {
		good = "there is no such file: the defaults are in force"
	}
	_, err = fmt.Fprintf(p.Out, "%s: %s\n", p.config, good)
	return err
}
