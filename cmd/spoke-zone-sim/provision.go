package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
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
	style   string
	device  int
	life    time.Duration
	modules []string
	version string
	policy  string
	set     []string
	force   bool
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
	style, known := styles[p.style]
	if !known {
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
	settings, err := p.settings(dir, state, credentials)
	if err != nil {
		return err
	}
	files := map[string]string{
		made.Identity: style(identity(credentials, state.MQTT)),
		made.Config:   settings.String(),
	}
	if credentials.CA != "" {
		files[filepath.Join(dir, "ca.pem")] = credentials.CA
	}
	for _, key := range p.modules {
		files[filepath.Join(dir, "versions", key)] = p.version + "\n"
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("provision: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("provision: %w", err)
		}
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
	if len(p.modules) == 0 {
		p.modules = c.Modules
	}
	if len(p.modules) == 0 {
		p.modules = []string{"display"}
	}
	return c, err
}

// A settings is an INI file whose sections keep their order.
type settings struct {
	order  []string
	values map[string][]string
}

func (s *settings) add(section, key, value string) {
	if s.values == nil {
		s.values = map[string][]string{}
	}
	if _, known := s.values[section]; !known {
		s.order = append(s.order, section)
	}
	lines := slices.DeleteFunc(s.values[section], func(line string) bool { return strings.HasPrefix(line, key+" = ") })
	s.values[section] = append(lines, key+" = "+value)
}

func (s *settings) String() string {
	var b strings.Builder
	b.WriteString("# A gateway of spoke-zone-sim.\n")
	for _, section := range s.order {
		fmt.Fprintf(&b, "\n[%s]\n%s\n", section, strings.Join(s.values[section], "\n"))
	}
	return b.String()
}

// settings are the agent's for a gateway in dir.
func (p *provisioning) settings(dir string, state State, c Credentials) (*settings, error) {
	s := &settings{}
	s.add("paths", "identity", filepath.Join(dir, "spoke-zone.conf"))
	for key, name := range map[string]string{"state": "state", "run": "run", "spool": "spool", "accounts": "accounts.d", "commands": "commands.d"} {
		s.add("paths", key, filepath.Join(dir, name))
	}
	slices.Sort(s.values["paths"])
	s.add("cloud", "url", state.API)
	if c.CA != "" {
		s.add("cloud", "ca_file", filepath.Join(dir, "ca.pem"))
	}
	window, err := time.ParseDuration(state.Window)
	if err != nil {
		return nil, fmt.Errorf("provision: window of the simulator: %w", err)
	}
	grace, err := time.ParseDuration(state.Grace)
	if err != nil {
		return nil, fmt.Errorf("provision: grace of the simulator: %w", err)
	}
	s.add("token", "renew_before", seconds(window))
	s.add("token", "grace", seconds(grace))
	s.add("token", "spread", seconds(window/3))
	s.add("mqtt", "broker", state.MQTT)
	s.add("local", "group", "")
	for _, key := range p.modules {
		s.add("module."+key, "version_file", filepath.Join(dir, "versions", key))
		s.add("module."+key, "policy", p.policy)
	}
	for _, text := range p.set {
		name, value, ok := strings.Cut(text, "=")
		dot := strings.LastIndex(name, ".")
		if !ok || dot < 1 {
			return nil, fmt.Errorf("%w: --set %q: want SECTION.KEY=VALUE", errUsage, text)
		}
		s.add(name[:dot], name[dot+1:], value)
	}
	return s, nil
}

// seconds is a duration as agent.conf has it, at least one second.
func seconds(d time.Duration) string { return fmt.Sprintf("%ds", max(1, int64(d.Seconds()))) }

// A field is one key of spoke-zone.conf.
type field struct{ key, value string }

// identity is what a factory writes about a device.
func identity(c Credentials, broker string) []field {
	host, port := "io.spoke.zone", "8883"
	if u, err := url.Parse(broker); err == nil {
		if h, p, err := net.SplitHostPort(u.Host); err == nil {
			host, port = h, p
		}
	}
	return []field{
		{"device_id", strconv.Itoa(c.ID)}, {"cpu_id", c.CPUID}, {"uuid", c.UUID},
		{"mqtt_host", host}, {"mqtt_port", port}, {"mqtt_username", c.Token}, {"mqtt_password", "gibberish"},
	}
}

// styles are ways to write spoke-zone.conf, whose syntax is documented nowhere.
var styles = map[string]func([]field) string{
	"ini": func(fields []field) string {
		text := "# Spoke Zone device configuration\n# Written at the factory. Do not edit.\n\n[device]\n" + lines(fields[:3], "%s = %s\n")
		return text + "\n[mqtt]\n" + lines(fields[3:], "%s = %s\n")
	},
	"plain":  func(fields []field) string { return lines(fields, "%s=%s\n") },
	"colon":  func(fields []field) string { return lines(fields, "%s: %s\n") },
	"quoted": func(fields []field) string { return "[spoke-zone]\n" + lines(fields, "%s = \"%s\"\n") },
	"windows": func(fields []field) string {
		return "\ufeff[DEVICE]\r\n" + strings.ReplaceAll(lines(fields, "%s = %s\r\n"), "mqtt_username", "MQTT_USERNAME")
	},
	"untidy": func(fields []field) string {
		return "; generated\n\n   # by hand\n[ mqtt ]\n" + lines(fields, "\t%s   =  %s   \n") + "\n;mqtt_username = an.old.one\nunrelated line without a key\n# end"
	},
}

func lines(fields []field, format string) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, format, f.key, f.value)
	}
	return b.String()
}
