// Package cli is the command line of spoke-zone-agent: what a person or a
// service manager types, the answers, and the exit status.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// Name is the program's.
const Name = "spoke-zone-agent"

// DefaultConfig is the file with the settings.
const DefaultConfig = "/etc/spoke-zone-agent/agent.conf"

// A Program is the command line with what it takes from its surroundings.
type Program struct {
	Version string
	Built   time.Time // no time before it is true
	In      io.Reader
	Out     io.Writer
	Err     *os.File // also the log of the daemon
	// Daemon runs the agent until ctx is done. An error made by Exit decides
	// the exit status.
	Daemon func(ctx context.Context, d Daemon) error

	config string
	socket string
	now    func() time.Time // time.Now if nil
}

// A Daemon is how `run` wants the agent to run.
type Daemon struct {
	ConfigPath string
	Version    string
	Log        *slog.Logger
	Level      *slog.LevelVar
	Reload     <-chan struct{} // one for each SIGHUP
}

// Run does what args say and returns the exit status.
func (p *Program) Run(args []string) int {
	root := p.Command()
	root.SetArgs(args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	return p.report(root.Execute())
}

// Command is the tree of commands, also for the manual.
func (p *Program) Command() *cobra.Command {
	root := &cobra.Command{
		Use:   Name,
		Short: "Keep a gateway's cloud credentials, session, software and data files in order",
		Long: "spoke-zone-agent is the device side of Spoke.Zone. It keeps the device's access\n" +
			"token valid, its MQTT session up, its software updated and its data files\n" +
			"uploaded. The command run is the daemon; the others talk to it.",
		Version:           p.Version,
		SilenceErrors:     true, // report does it
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	subcommandsOnly(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misuse(cmd, err) })
	root.PersistentFlags().StringVar(&p.config, "config", DefaultConfig, "read the settings from `FILE`")
	root.AddCommand(p.runCommand(), p.reloadCommand(), p.checkCommand(), p.statusCommand(), p.whyCommand(), p.doctorCommand(), p.diagnoseCommand(),
		p.tokenCommand(), p.renewCommand(), p.adoptCommand(), p.accountsCommand(), p.loginCommand(), p.recoverCommand(), p.otaCommand(), p.hookTestCommand(), p.uploadCommand(),
		p.publishCommand(), p.subscribeCommand(), p.installRunCommand(), p.hookRunCommand(), p.versionCommand(), p.completionCommand())
	return root
}

// subcommandsOnly makes cmd explain itself when no subcommand is named.
func subcommandsOnly(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			return errors.Join(cmd.Help(), silent(Usage))
		}
		err := fmt.Errorf("there is no command %q", args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w, perhaps %s", err, strings.Join(near, " or "))
		}
		return misuse(cmd, err)
	}
}

// args checks the number of arguments; what it says is the user's mistake.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return misuse(cmd, err)
		}
		return nil
	}
}

// talks gives cmd the flag --socket.
func (p *Program) talks(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&p.socket, "socket", "", "talk to the agent at the socket `PATH` (default agent.sock in the settings' paths.run)")
	return cmd
}

// client talks to the daemon. Faults in the settings do not keep it from that:
// they may be what the user wants to look into.
func (p *Program) client() *local.Client {
	socket := p.socket
	if socket == "" {
		c, _ := conf.Load(p.config)
		socket = filepath.Join(c.Paths.Run, "agent.sock")
	}
	return &local.Client{Socket: socket}
}

func (p *Program) clock() time.Time {
	if p.now != nil {
		return p.now()
	}
	return time.Now()
}
