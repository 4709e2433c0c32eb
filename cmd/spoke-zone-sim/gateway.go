package main

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// A gateway says what the files of one are to be like. The zero value is a
// gateway as a factory makes it, save for the version.
type gateway struct {
	style   string
	modules []string
	version string
	policy  string
	set     []string
}

// These bound a gateway, as the agent does.
const (
	maxModules = 64
	maxVersion = 128 // bytes
)

// moduleKey is what a module may be called.
var moduleKey = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// complete fills in what is empty, and faults what cannot be.
func (g *gateway) complete(d cloudtest.Device) error {
	if len(g.modules) == 0 {
		g.modules = d.Modules
	}
	if len(g.modules) == 0 {
		g.modules = []string{"display"}
	}
	orDefault(&g.style, "ini")
	orDefault(&g.version, "1.0.0")
	orDefault(&g.policy, "fetch")
	if styles[g.style] == nil {
		return fmt.Errorf("%w: style %q: want one of %s", errUsage, g.style, strings.Join(slices.Sorted(maps.Keys(styles)), ", "))
	}
	if len(g.modules) > maxModules {
		return fmt.Errorf("%w: %d modules: want %d at most", errUsage, len(g.modules), maxModules)
	}
	if len(g.version) > maxVersion {
		return fmt.Errorf("%w: a version of %d bytes: want %d at most", errUsage, len(g.version), maxVersion)
	}
	for _, key := range g.modules {
		if !moduleKey.MatchString(key) {
			return fmt.Errorf("%w: module %q: want lower case letters, digits and hyphens", errUsage, key)
		}
	}
	if strings.ContainsAny(g.version+g.policy, "\r\n") {
		return fmt.Errorf("%w: version %q, policy %q: want one line each", errUsage, g.version, g.policy)
	}
	return nil
}

func orDefault(s *string, def string) {
	if *s == "" {
		*s = def
	}
}

// files are those of a gateway in dir, by their paths in it.
func (g *gateway) files(dir string, state State, c Credentials) (map[string]string, error) {
	settings, err := g.settings(dir, state, c)
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		"spoke-zone.conf": styles[g.style](identity(c, state.MQTT)),
		"agent.conf":      settings.String(),
	}
	if c.CA != "" {
		files["ca.pem"] = c.CA
	}
	for _, key := range g.modules {
		files[filepath.Join("versions", key)] = g.version + "\n"
	}
	return files, nil
}

// settings are the agent's for a gateway in dir.
func (g *gateway) settings(dir string, state State, c Credentials) (*settings, error) {
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
	for _, key := range g.modules {
		s.add("module."+key, "version_file", filepath.Join(dir, "versions", key))
		s.add("module."+key, "policy", g.policy)
	}
	for _, text := range g.set {
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
