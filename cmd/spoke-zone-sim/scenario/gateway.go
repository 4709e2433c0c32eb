package scenario

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/ota/release"
	"github.com/spoke-zone/spoke-zone-agent/packaging"
)

// identityText is a file as the factory writes it. Every byte but the token's
// must stay.
const identityText = `# Spoke Zone device configuration, written at the factory. Do not edit.
[general]
device_id     = %d
cpu_id        = %s
uuid          = %s

[mqtt]
mqtt_username = %s
mqtt_password = gibberish   ; not looked at
`

// hookText notes each call of the shipped hook and stops where the play says.
const hookText = `#!/bin/sh
top=%[1]s
echo "$1 $SPOKE_OTA_VERSION" >>$top/calls
while [ -e $top/hold.$1 ]; do sleep 0.05; done
SPOKE_OTA_LIB=$top/hooks/lib.sh exec $top/hooks/file "$@"
`

// hookSettings stop it once more when the new file is in place. A version that
// is ill says so.
const hookSettings = `TARGET=%[1]s/installed/%[2]s
AFTER='echo "effect $SPOKE_OTA_VERSION" >>%[1]s/calls; while [ -e %[1]s/hold.effect ]; do sleep 0.05; done'
HEALTH='! grep -q ill %[1]s/installed/%[2]s'
`

// write makes a file and the directories that it needs.
func write(name, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), mode)
}

// agentSettings is the text of agent.conf. What a scenario sets comes last and
// counts.
func (s *stage) agentSettings() string {
	var b strings.Builder
	sections, order := map[string][]string{}, []string{}
	add := func(section, key, value string) {
		if _, known := sections[section]; !known {
			order = append(order, section)
		}
		kept := slices.DeleteFunc(sections[section], func(line string) bool { return strings.HasPrefix(line, key+" = ") })
		sections[section] = append(kept, key+" = "+value)
	}
	add("paths", "identity", s.path("spoke-zone.conf"))
	for _, name := range []string{"state", "run", "spool"} {
		add("paths", name, s.path(name))
	}
	add("paths", "accounts", s.path("accounts.d"))
	add("paths", "commands", s.path("commands.d"))
	add("cloud", "url", s.addrs.API)
	add("cloud", "ca_file", s.path("ca.pem"))
	add("cloud", "timeout", "5s")
	add("token", "renew_before", seconds(s.setup.window))
	add("token", "grace", seconds(s.setup.grace))
	add("token", "spread", seconds(min(s.setup.window/3, 5*time.Minute)))
	add("mqtt", "broker", "mqtts://"+s.relay.addr)
	add("telemetry", "location_source", "off")
	add("local", "group", "")
	for _, m := range s.setup.modules {
		add("module."+m.key, "version_file", s.path("installed", m.key))
		add("module."+m.key, "policy", m.policy)
	}
	for _, set := range s.setup.set {
		add(set.section, set.key, set.value)
	}
	for _, section := range order {
		fmt.Fprintf(&b, "[%s]\n%s\n", section, strings.Join(sections[section], "\n"))
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int64(d/time.Second)) }

// furnish writes the files of the gateway.
func (s *stage) furnish() error {
	err := errors.Join(
		write(s.path("ca.pem"), string(s.cloud.CA()), 0o600),
		write(s.path("agent.conf"), s.agentSettings(), 0o600),
		os.MkdirAll(s.path("state"), 0o700), os.MkdirAll(s.path("spool"), 0o755))
	for _, m := range s.setup.modules {
		err = errors.Join(err, write(s.path("installed", m.key), m.version+"\n", 0o644))
	}
	if s.setup.disk > 0 && err == nil {
		err = mountState(s.path("state"), s.setup.disk)
	}
	if s.setup.installer && err == nil {
		err = s.furnishInstaller()
	}
	if !s.setup.fresh && err == nil {
		err = s.provision(0)
	}
	return err
}

// furnishInstaller writes what is root's: the policy, the hooks, and the key
// whose signatures they take.
func (s *stage) furnishInstaller() error {
	const etc = "/etc/spoke-zone-agent/" // of the machine of our own
	var policy strings.Builder
	fmt.Fprintf(&policy, "[paths]\nagent = %s\nstate = %s\nrun = %s\n", s.path("state"), s.path("installer"), s.path("installer.run"))
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	id := []byte("scenario") // 8 bytes, as minisign has it
	secret := slices.Concat([]byte("Ed\x00\x00B2"), make([]byte, 48), id, key, make([]byte, 32))
	if s.key, err = release.ParseSecretKey([]byte(base64.StdEncoding.EncodeToString(secret)), nil); err != nil {
		return err
	}
	public, _ := key.Public().(ed25519.PublicKey)
	err = write(etc+"keys/scenario.pub", base64.StdEncoding.EncodeToString(slices.Concat([]byte("Ed"), id, public))+"\n", 0o644)
	for _, name := range []string{"file", "lib.sh"} {
		text, rerr := packaging.Hooks.ReadFile("hooks/" + name)
		err = errors.Join(err, rerr, write(s.path("hooks", name), string(text), 0o755))
	}
	for _, m := range s.setup.modules {
		fmt.Fprintf(&policy, "[module.%s]\nkeys = %skeys/*.pub\n", m.key, etc)
		err = errors.Join(err,
			write(etc+"hooks.d/"+m.key, fmt.Sprintf(hookText, s.dir), 0o755),
			write(etc+"hooks.d/"+m.key+".conf", fmt.Sprintf(hookSettings, s.dir, m.key), 0o644))
	}
	return errors.Join(err, write(etc+"install.conf", policy.String(), 0o644))
}

// provision writes spoke-zone.conf with a new token, as a factory does: a file
// that is there keeps its other lines.
func (s *stage) provision(life time.Duration) error {
	s.bring(life)
	if s.identity == "" {
		s.identity = fmt.Sprintf(identityText, s.device.ID, s.device.CPUID, s.device.UUID, "%s")
	}
	return s.vendorWrites(fmt.Sprintf(s.identity, s.token))
}

// bring makes a token that a person brings.
func (s *stage) bring(life time.Duration) {
	s.token, s.before = s.cloud.Issue(s.device.ID, life), len(s.cloud.Logins())
}

// vendorWrites replaces spoke-zone.conf in one step, as a careful program does.
func (s *stage) vendorWrites(text string) error {
	name := s.path("spoke-zone.conf")
	if err := write(name+".vendor", text, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".vendor", name)
}

// vendorAdds is a line that another program adds while the agent runs.
func (s *stage) vendorAdds(line string) error {
	b, err := os.ReadFile(s.path("spoke-zone.conf"))
	if err != nil {
		return err
	}
	s.identity += strings.ReplaceAll(line, "%", "%%") + "\n"
	return s.vendorWrites(string(b) + line + "\n")
}

// identityNow reports whether spoke-zone.conf is what it should be: what others
// wrote, with the newest token.
func (s *stage) identityNow() (seen string, ok bool) {
	newest := s.token
	for _, l := range s.cloud.Logins()[s.before:] {
		if l.Given != "" {
			newest = l.Given
		}
	}
	b, err := os.ReadFile(s.path("spoke-zone.conf"))
	if err != nil {
		return err.Error(), false
	}
	switch {
	case bytes.Equal(b, []byte(fmt.Sprintf(s.identity, newest))):
		return "it holds the newest token", true
	case bytes.Contains(b, []byte(newest)):
		return "it holds the newest token, and other bytes were changed", false
	}
	return "it holds another token than the newest", false
}
