package systemd

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// unit reads the settings of a unit file; a key that is there twice has both
// values.
func unit(t *testing.T, path string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			set[key] = append(set[key], value)
		}
	}
	return set
}

func TestTheUnitKeepsItsPromises(t *testing.T) {
	set := unit(t, "spoke-zone-agent.service")
	for key, want := range map[string]string{
		"Type":                     "notify", // notify-reload is unknown before systemd 253
		"ExecStart":                "/usr/bin/spoke-zone-agent run",
		"ExecReload":               "/usr/bin/spoke-zone-agent reload",
		"RestartPreventExitStatus": "78",
		"StateDirectory":           "spoke-zone-agent",
		"RuntimeDirectory":         "spoke-zone-agent",
		"CapabilityBoundingSet":    "",
		"AmbientCapabilities":      "",
		"NoNewPrivileges":          "yes",
		"ProtectSystem":            "strict",
		"ReadWritePaths":           "-/etc/spoke-zone -/var/spool/spoke-zone-agent",
	} {
		if got := set[key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if len(set["WatchdogSec"]) != 1 {
		t.Error("there is no WatchdogSec")
	}
	for _, path := range []string{"/run/systemd/private", "/run/dbus/system_bus_socket"} {
		if !strings.Contains(strings.Join(set["InaccessiblePaths"], " "), "-"+path) {
			t.Errorf("%s, which trusts uid 0, is not hidden", path)
		}
	}
	for _, key := range []string{"ProcSubset", "User", "ConfigurationDirectory", "RestartSteps", "ConditionPathExists"} {
		if set[key] != nil {
			t.Errorf("%s is set", key)
		}
	}
}

func TestTheInstallersUnitsKeepTheirPromises(t *testing.T) {
	set := unit(t, "spoke-zone-install.service")
	for key, want := range map[string]string{
		"Type":             "oneshot",
		"ExecStart":        "/usr/bin/spoke-zone-agent install-run",
		"Restart":          "on-failure", // of one that was killed: the next start settles what it left
		"PrivateNetwork":   "yes",
		"ProtectSystem":    "strict",
		"ReadWritePaths":   "-/var/lib/spoke-zone-agent",
		"StateDirectory":   "spoke-zone-installer",
		"TimeoutStartSec":  "infinity",
		"RuntimeDirectory": "spoke-zone-installer",
	} {
		if got := set[key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for key := range set {
		if strings.HasPrefix(key, "Condition") || key == "WantedBy" {
			t.Errorf("%s is set: the path unit would try for ever, or the service start for nothing", key)
		}
	}
	if got := unit(t, "spoke-zone-install.path")["DirectoryNotEmpty"]; len(got) != 1 || got[0] != "/var/lib/spoke-zone-agent/install" {
		t.Errorf("DirectoryNotEmpty is %q", got)
	}
}

func TestTheGuardsUnitsKeepTheirPromises(t *testing.T) {
	installer, guard := unit(t, "spoke-zone-install.service"), unit(t, "spoke-zone-guard.service")
	for key, want := range map[string]string{
		"ExecStart":                  "/var/lib/spoke-zone-installer/guard/spoke-zone-agent install-run --guard",
		"ConditionDirectoryNotEmpty": "/var/lib/spoke-zone-installer/unproven",
	} {
		if got := guard[key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for key, want := range installer { // the sandbox is the same
		switch key {
		case "Description", "ExecStart", "StartLimitIntervalSec", "StartLimitBurst", "Restart", "RestartSec":
		default:
			if !slices.Equal(guard[key], want) {
				t.Errorf("%s is %q, and %q in the installer's unit", key, guard[key], want)
			}
		}
	}
	timer := unit(t, "spoke-zone-guard.timer")
	for _, key := range []string{"OnUnitActiveSec", "OnUnitInactiveSec"} { // a unit whose condition fails is neither
		if timer[key] != nil {
			t.Errorf("%s is set", key)
		}
	}
	if len(timer["OnCalendar"]) != 1 || len(timer["OnBootSec"]) != 1 {
		t.Errorf("the timer is %v", timer)
	}
}

func TestTheDropBoxHasADirectoryForEachType(t *testing.T) {
	b, err := os.ReadFile("spoke-zone-agent.tmpfiles.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{"debug", "dmesg", "event", "gps", "journal", "log", "txt"} {
		found := false
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			found = found || len(f) > 2 && f[0] == "d" && f[1] == "/var/spool/spoke-zone-agent/"+typ && f[2] == "1777"
		}
		if !found {
			t.Errorf("there is no directory for %s that everybody may write to", typ)
		}
	}
}
