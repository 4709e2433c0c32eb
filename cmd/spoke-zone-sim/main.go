// Spoke-zone-sim is a stand-in for Spoke Zone: its HTTP API and its MQTT
// broker on loopback addresses, with every fault that a gateway may meet.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-sim/demo"
	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-sim/scenario"
)

// The exit statuses, from sysexits(3).
const (
	exitUsage       = 64 // the command line is wrong
	exitUnreachable = 69 // no simulator answers
	exitFailed      = 70
)

// name is the program's.
const name = "spoke-zone-sim"

var version string // set by the linker

var (
	errUsage       = errors.New("usage")
	errUnreachable = errors.New("no simulator answers")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run does what args say and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, scenario.ErrTold) {
		return exitFailed
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	var faults scenario.Faults
	switch {
	case errors.As(err, &faults):
		return exitUsage
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "See %s --help.\n", name)
		return exitUsage
	case errors.Is(err, errUnreachable):
		fmt.Fprintf(stderr, "Start one with %s serve, and give its admin address with --url or in %s.\n", name, urlVariable)
		return exitUnreachable
	}
	return exitFailed
}

// command is the tree of commands.
func command() *cobra.Command {
	root := &cobra.Command{
		Use:   name,
		Short: "Stand in for Spoke Zone, with all of its moods",
		Long: "spoke-zone-sim answers as Spoke Zone's HTTP API and MQTT broker do, and as Beacon\n" +
			"Tower, BACE, PlaceOS and Beamery. The command serve is the simulator; demo and run\n" +
			"play with one of their own, the others talk to one that runs.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	withConsole(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(serveCommand(), demo.Command(demoConsole), scenario.Command(), provisionCommand(), accountCommand(), versionCommand())
	root.AddCommand(controlCommands()...)
	for _, c := range append(root.Commands(), root) {
		if check := c.Args; check != nil {
			c.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return fmt.Errorf("%w: %w", errUsage, err)
				}
				return nil
			}
		}
	}
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := version
			if info, ok := debug.ReadBuildInfo(); ok && text == "" {
				text = info.Main.Version
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(name+" "+text))
			return err
		},
	}
}
