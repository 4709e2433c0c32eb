// Package agent assembles the parts of the device agent and runs them.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/capture"
	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
	"github.com/spoke-zone/spoke-zone-agent/agent/command"
	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/systemd"
)

// ErrSettings means that the settings have faults. A restart does not help.
var ErrSettings = errors.New("settings not usable")

// errReload ends a generation because the settings have changed.
var errReload = errors.New("settings changed")

// Options is what the agent takes from its surroundings.
type Options struct {
	ConfigPath string
	// InstallPolicy is the policy of the privileged installer;
	// /etc/spoke-zone-agent/install.conf if empty.
	InstallPolicy string

	Version string
	Built   time.Time // no time before it is true; zero if unknown
	Log     *slog.Logger
	Level   *slog.LevelVar  // follows [log] level; may be nil
	Reload  <-chan struct{} // asks to read the settings again; may be nil

	// Confine takes from the process the right to write outside the named
	// directories; nil leaves it. It returns the version of Landlock.
	Confine func(directories ...string) (int, error)

	// Dial opens network connections; net.Dialer if nil.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// ReadClock reads the system's clocks; clock.Read if nil.
	ReadClock func() clock.Reading
	// Netlink opens the kernel's news of the network; a socket of rtnetlink(7)
	// if nil.
	Netlink func() (NetworkNews, error)
}

// A runner is the state that outlives a generation.
type runner struct {
	Options
	started  time.Time
	settings latest.Value[settings] // in force
	reading  latest.Value[reading]  // how the files were read last
	alive    systemd.Liveness

	owned      *os.File // the state directory, locked; nil: not
	confined   []string // where the process may write; nil: anywhere
	sandbox    local.Sandbox
	processors processors
	commands   *command.Commands // which a program that runs needs until it ends
	ownLog     *capture.OwnLog   // keeps Log, while the cloud asks for it
	tokens     account.Store
	standing   spell  // of the token's state
	standings  spells // of the states of the other accounts' tokens
}

// Run runs the agent until ctx is done. The settings of one generation never
// change: when the files do, Run ends that generation and starts the next from
// the new settings, by the same path as after a restart. It returns
// ErrSettings when the settings cannot be used at the start; later faults leave
// the settings in force. It returns ErrNotAlone when another agent has the state.
func Run(ctx context.Context, o Options) error {
	r := &runner{Options: o, started: time.Now()}
	r.keepLog()
	r.commands = newCommands(r.Log)
	r.processors.rest()
	defer r.processors.add(1)
	if err := r.load(); err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	r.confine()
	defer r.disown()
	return RunTasks(ctx, r.Log,
		Task{"settings", r.watchSettings},
		Task{"watchdog", func(ctx context.Context) error { return systemd.Watchdog(ctx, r.alive.Err) }},
		Task{"memory", r.giveBack},
		Task{"commands", r.commands.Run},
		Task{"agent", r.generations},
	)
}

// generations runs one generation after another.
func (r *runner) generations(ctx context.Context) error {
	for n := 1; ; n++ {
		c, changed, err := r.settings.Wait(ctx)
		if err != nil {
			return nil
		}
		if err := r.own(c.Paths.State); err != nil {
			return err
		}
		g, err := r.assemble(c, n)
		if err != nil {
			return err
		}
		err = g.run(ctx, changed)
		if !errors.Is(err, errReload) {
			return err
		}
		r.Log.Info("applying new settings", "generation", n+1)
	}
}
