package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

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
	var state State
	if err := p.receive(ctx, "GET", "/state", nil, &state); err != nil {
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

// writeFiles writes texts to their paths in dir.
func writeFiles(dir string, files map[string]string) error {
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
