package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	daemon "github.com/spoke-zone/spoke-zone-agent/agent"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

func (p *Program) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check the settings",
		Long: "Read the settings as the daemon would and print every fault, one a line, as\n" +
			"FILE:LINE: SECTION.KEY: what is wrong (what is allowed). No daemon is needed. What the\n" +
			"sandbox of the service keeps it from delivering is a warning, and no fault.",
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
	for _, w := range daemon.DeliveryWarnings(c.Paths.Accounts, unitWrites(c)) {
		fmt.Fprintln(p.Err, "warning: "+printable(w))
	}
	good := "the settings are good"
	if _, err := os.Stat(p.config); errors.Is(err, fs.ErrNotExist) {
		good = "there is no such file: the defaults are in force"
	}
	_, err = fmt.Fprintf(p.Out, "%s: %s\n", p.config, good)
	return err
}

// unitWrites are the directories that the service may write to: those of the
// settings, and what its unit with the drop-ins says, where systemd tells.
func unitWrites(c conf.Config) []string {
	dirs := []string{c.Paths.State, c.Paths.Run, c.Paths.Spool, filepath.Dir(c.Paths.Identity)}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", "-P", "ReadWritePaths", Name+".service").Output()
	if err != nil {
		return dirs
	}
	for _, dir := range strings.Fields(string(out)) {
		dirs = append(dirs, strings.TrimLeft(dir, "-+"))
	}
	return dirs
}
