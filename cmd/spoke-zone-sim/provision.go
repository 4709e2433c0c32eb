package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// startPatience is how long a simulator that was just started may take to answer.
const startPatience = 5 * time.Second

// A provisioning makes a directory what a factory makes of a gateway.
type provisioning struct {
	controller
	gateway
	device int
	life   time.Duration
	force  bool
}

func provisionCommand() *cobra.Command {
	p := &provisioning{}
	cmd := &cobra.Command{
		Use:   "provision DIR",
		Short: "Write a gateway's files, with settings that lead it to the simulator",
		Long: "provision writes into DIR what a gateway of the simulator needs: spoke-zone.conf\n" +
			"with a new token, as a factory writes it, and agent.conf, whose paths are in DIR.\n" +
			"Start the gateway with: spoke-zone-agent run --config DIR/agent.conf",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args[0], cmd.OutOrStdout()) },
	}
	p.flag(cmd)
	f := cmd.Flags()
	f.StringVar(&p.style, "style", "ini", "how spoke-zone.conf is written: `STYLE` is one of "+strings.Join(slices.Sorted(maps.Keys(styles)), ", "))
	f.IntVar(&p.device, "device", 0, "`ID` of the device; default the first")
	f.DurationVar(&p.life, "life", 0, "life of the token; negative: expired so long ago; default the simulator's")
	f.StringSliceVar(&p.modules, "module", nil, "`KEYS` of the modules; default the device's, else display")
	f.StringVar(&p.version, "version", "1.0.0", "`VERSION` of each module that is installed")
	f.StringVar(&p.policy, "policy", "fetch", "what the gateway does about updates: notify, fetch or install")
	f.StringArrayVar(&p.set, "set", nil, "add a setting, `SECTION.KEY=VALUE`")
	f.BoolVar(&p.force, "force", false, "replace the files of an earlier provisioning")
	return cmd
}

// Provisioned is what provision prints.
type Provisioned struct {
	Config   string `json:"config"`
	Identity string `json:"identity"`
	Device   int    `json:"device"`
}

func (p *provisioning) run(ctx context.Context, dir string, out io.Writer) error {
	if styles[p.style] == nil {
		return fmt.Errorf("%w: style %q: want one of %s", errUsage, p.style, strings.Join(slices.Sorted(maps.Keys(styles)), ", "))
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	made := Provisioned{Config: filepath.Join(dir, "agent.conf"), Identity: filepath.Join(dir, "spoke-zone.conf")}
	if _, err := os.Lstat(made.Identity); err == nil && !p.force {
		return fmt.Errorf("provision: %s is there already; replace it with --force", made.Identity)
	}
	state, err := p.state(ctx)
	if err != nil {
		return err
	}
	credentials, err := p.credentials(ctx, state)
	if err != nil {
		return err
	}
	made.Device = credentials.ID
	if err := p.complete(credentials.Device); err != nil {
		return err
	}
	files, err := p.files(dir, state, credentials)
	if err != nil {
		return err
	}
	if err := writeFiles(dir, files); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(made)
}

// state asks the simulator what it serves, again while nothing listens: it may
// have been started by the line before.
func (p *provisioning) state(ctx context.Context) (state State, err error) {
	start, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	again := time.NewTicker(startPatience / 50)
	defer again.Stop()
	for {
		if err = p.receive(ctx, "GET", "/state", nil, &state); !errors.Is(err, syscall.ECONNREFUSED) {
			return state, err
		}
		select {
		case <-start.Done():
			return state, err
		case <-again.C:
		}
	}
}

// credentials asks the simulator for a token of the device.
func (p *provisioning) credentials(ctx context.Context, state State) (c Credentials, err error) {
	if p.device == 0 && len(state.Devices) > 0 {
		p.device = state.Devices[0].ID
	}
	request := map[string]string{}
	if p.life != 0 {
		request["life"] = p.life.String()
	}
	err = p.post(ctx, "/devices/"+strconv.Itoa(p.device)+"/token", request, &c)
	return c, err
}

// writeFiles writes texts to their paths in dir, and makes the directories that
// a person puts files into.
func writeFiles(dir string, files map[string]string) error {
	for _, name := range []string{"accounts.d", "commands.d"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return fmt.Errorf("provision: %w", err)
		}
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("provision: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("provision: %w", err)
		}
	}
	return nil
}
