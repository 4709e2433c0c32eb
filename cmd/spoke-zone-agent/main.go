// Spoke-zone-agent is the device side of Spoke.Zone: its daemon and the
// commands that talk to it.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent"
	"github.com/spoke-zone/spoke-zone-agent/agent/confine"
	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-agent/cli"
)

// Set by the linker.
var (
	version string
	built   string // seconds since 1970: SOURCE_DATE_EPOCH
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout io.Writer, stderr *os.File) int {
	p := &cli.Program{Version: versionText(), Built: builtTime(), In: stdin, Out: stdout, Err: stderr, Daemon: daemon}
	return p.Run(args)
}

func daemon(ctx context.Context, d cli.Daemon) error {
	err := agent.Run(ctx, agent.Options{
		ConfigPath: d.ConfigPath, Version: d.Version, Built: builtTime(), Log: d.Log, Level: d.Level, Reload: d.Reload,
		Confine: confine.Writes,
	})
	switch {
	case errors.Is(err, agent.ErrSettings):
		return cli.Exit(cli.Config, err)
	case errors.Is(err, agent.ErrNotAlone):
		return cli.Exit(cli.Unreachable, err)
	}
	return err
}

// versionText falls back on what `go install` knows.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// written is when this was written, for builds that know no better.
var written = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// builtTime is a time before which it cannot be, for gateways that boot in
// 1970.
func builtTime() time.Time {
	if s, err := strconv.ParseInt(built, 10, 64); err == nil && s > written.Unix() {
		return time.Unix(s, 0)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t
			}
		}
	}
	return written
}
