package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func TestScreenAndWhyOfTelemetry(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := local.Status{
		Commands: local.Commands{Done: 2, Failed: 1, Unknown: 3, Ignored: 1, Dropped: 2, Running: []string{"reboot"}, Queued: 1,
			Last: "light", LastAt: now.Add(-time.Minute), LastError: "exit status 3"},
		Diagnostics: local.Diagnostics{Level: "debug-only", DebugLevel: "warn", Broadcast: 60, Until: now.Add(24 * time.Hour), Recorded: []local.Recorded{
			{Type: "journal", Files: 3, Bytes: 4096, Last: now.Add(-time.Minute)}, {Type: "dmesg", Error: "there is no journal"}, {Type: "debug", Skipped: 2, Files: 1, Bytes: 100}}},
		Location: local.Location{Source: "gpsd", Published: now.Add(-time.Hour), Error: "no fix"},
		Bridge:   &local.Bridge{File: "/etc/mosquitto/spoke-zone/bridge.conf", State: "failing", Error: "read-only"},
	}
	has := func(what, text string, want ...string) {
		t.Helper()
		text = strings.Join(strings.Fields(text), " ")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s does not say %q:\n%s", what, w, text)
			}
		}
	}
	has("screen", screen(s, now),
		"Commands 2 done, 1 failed, 3 unknown, 1 ignored, 2 dropped", "running reboot", "error light: exit status 3",
		"Diagnostics debug-only, debug level warn, broadcast every", "journal 3 files (4.0 KiB), the last", "dmesg 0 files", "error there is no journal", "2 lines missing", "Location no fix (gpsd)", "error no fix",
		"Bridge failing, /etc/mosquitto/spoke-zone/bridge.conf error read-only")
	has("why", why(s, now, "commands"),
		"Running: reboot.", "1 message waits for its turn", "The last command, light, failed at", "exit status 3.", "3 messages named no command",
		"1 message was ignored", "2 messages were dropped", "to debug-only; it falls back to normal at", "messages of QoS 1 wait on disk", "Of type journal, 3 files were recorded (4.0 KiB)", "Type dmesg is not recorded: there is no journal.", "2 lines were left out", "broadcast every")
	has("why", why(s, now, "location"), "The location is not known: no fix.", "It was published last at")

	has("screen", screen(local.Status{Diagnostics: local.Diagnostics{Level: "normal"}, Location: local.Location{Source: "off"}}, now),
		"Commands nothing yet", "Diagnostics normal", "Location off", "Accounts the device's own alone")
	has("why", why(local.Status{Location: local.Location{Source: "off"}}, now, "location"), "No location is looked for")
	has("why", why(local.Status{Location: local.Location{Source: "gpsd", Fix: true}}, now, "location"), "The location is known, from gpsd.")
	has("why", why(local.Status{}, now, "commands"), "The cloud has sent no command")
}
