//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

const (
	cpuID    = "0x2d1c59d4e0b41d4e"
	uuid     = "6a1f7d0e-53a7-4f6e-9a5e-8f1f0c0a4711"
	password = "-"
)

// identity is spoke-zone.conf as a unit leaves the factory: sections, comments,
// a quoted value, and keys that are none of the agent's business.
const identity = `# Spoke.Zone connection of this unit, written at manufacture.
# DO NOT EDIT: other software reads this file, too.

[device]
device_id   = %[1]d
cpu_id      = %[2]s
uuid        = "%[3]s"      ; unique in the cloud

[mqtt]
mqtt_host = io.spoke.zone
mqtt_port = 8883
mqtt_username = %[4]s
mqtt_password = %[5]s

[apn]
name = spoke-zone.com.attz
`

// gateway is a directory with everything that the agent has on a device.
type gateway struct {
	t      *testing.T
	dir    string
	binary string
	log    *os.File
	cmd    *exec.Cmd
}

func newGateway(t *testing.T, token, apiAddr, brokerAddr, ca string) *gateway {
	binary, err := filepath.Abs("../../build/spoke-zone-agent")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("make build comes first: %v", err)
	}
	g := &gateway{t: t, dir: t.TempDir(), binary: binary}
	for _, name := range []string{"state", "run", "spool/log", "accounts.d", "commands.d", "etc"} {
		if err := os.MkdirAll(g.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	g.write("etc/spoke-zone.conf", g.identity(token), 0o640)
	g.write("version", "1.0.0\n", 0o644)
	g.write("agent.conf", fmt.Sprintf(`[paths]
identity = %[1]s/etc/spoke-zone.conf
state    = %[1]s/state
run      = %[1]s/run
spool    = %[1]s/spool
accounts = %[1]s/accounts.d
commands = %[1]s/commands.d
[cloud]
url     = https://%[2]s
ca_file = %[4]s
[token]
spread = 0s
[mqtt]
broker = mqtts://%[3]s
[telemetry]
location_source = off
[ota]
rate_limit = 1MiB
[module.display]
version_file = %[1]s/version
policy       = fetch
[local]
group =
[log]
level = debug
`, g.dir, apiAddr, brokerAddr, ca), 0o644)
	g.logTo(t)
	return g
}

// logTo has what the daemon says kept until the test ends, and the daemon ended
// with it.
func (g *gateway) logTo(t *testing.T) {
	t.Helper()
	var err error
	if g.log, err = os.Create(g.path("agent.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if g.cmd != nil {
			g.kill()
		}
		g.log.Close()
		if t.Failed() {
			t.Logf("the agent said:\n%s", g.read("agent.log"))
		}
	})
}

func (g *gateway) path(name string) string { return filepath.Join(g.dir, name) }

func (g *gateway) identity(token string) string {
	return fmt.Sprintf(identity, deviceID, cpuID, uuid, token, password)
}

func (g *gateway) write(name, text string, mode os.FileMode) {
	g.t.Helper()
	if err := os.MkdirAll(filepath.Dir(g.path(name)), 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(g.path(name), []byte(text), mode); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) read(name string) string {
	g.t.Helper()
	b, err := os.ReadFile(g.path(name))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(b)
}

// start runs the daemon.
func (g *gateway) start() {
	g.t.Helper()
	g.cmd = exec.Command(g.binary, "run", "--config", g.path("agent.conf"))
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
}

// kill ends the daemon as a power cut would: it gets no chance to save.
func (g *gateway) kill() {
	g.cmd.Process.Kill()
	g.cmd.Wait()
	g.cmd = nil
}

// stop asks the daemon to end.
func (g *gateway) stop() {
	g.t.Helper()
	g.cmd.Process.Signal(syscall.SIGTERM)
	if err := g.cmd.Wait(); err != nil {
		g.t.Errorf("run ended with %v, want exit status 0", err)
	}
	g.cmd = nil
}

// command runs one that talks to the daemon and returns its output.
func (g *gateway) command(args ...string) string {
	g.t.Helper()
	cmd := exec.Command(g.binary, append(args, "--config", g.path("agent.conf"))...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// status is what the daemon says of itself; false while it does not answer.
func (g *gateway) status() (s local.Status, ok bool) {
	out, err := exec.Command(g.binary, "status", "--json", "--config", g.path("agent.conf")).Output()
	if err != nil {
		return s, false
	}
	if err := json.Unmarshal(out, &s); err != nil {
		g.t.Fatalf("status --json printed no JSON: %v: %s", err, out)
	}
	return s, true
}

// until waits for a status that holds; how long is generous, for only a
// failure waits it out.
func (g *gateway) until(what string, holds func(local.Status) bool) local.Status {
	g.t.Helper()
	var s local.Status
	eventually(g.t, what, func() bool {
		var ok bool
		s, ok = g.status()
		return ok && holds(s)
	}, func() string { return fmt.Sprintf("%+v", s) })
	return s
}

func eventually(t *testing.T, what string, holds func() bool, last func() string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s; last seen: %s", what, last())
		}
	}
}
