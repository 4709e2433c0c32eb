package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// An illness is what a gateway may have, and what one check has to find.
type illness struct {
	name  string
	harm  func(t *testing.T, w *ward)
	check string
	want  Verdict
	text  string // in the text of the finding
	cure  string // in its cure
}

var illnesses = []illness{
	{"settings with a fault", func(t *testing.T, w *ward) { w.settings = "keep_alive = 1s\n" }, "settings", Fail, "mqtt.keep_alive: 1s is below 5s", "check"},
	{"settings that the daemon does not use", func(t *testing.T, w *ward) { w.status.Settings.Error = "a.conf:1: no" }, "settings", Fail, "keeps older settings: a.conf:1", "reload"},
	{"no identity file", func(t *testing.T, w *ward) { w.identity = ""; w.running = local.ErrNotRunning }, "identity file", Fail, "no identity file", "adopt"},
	{"no identity file, yet a token", func(t *testing.T, w *ward) { w.identity = "" }, "identity file", Warn, "the agent works with the token in its state directory", "mqtt_username"},
	{"an identity file of zeros", func(t *testing.T, w *ward) {
		w.identity = "mqtt\x00\x00"
		w.status.Token.State = "none"
	}, "identity file", Fail, "damaged", "restore"},
	{"no token in it", func(t *testing.T, w *ward) {
		w.identity = "cpu_id = x\n"
		w.status.Token.State = "none"
	}, "identity file", Fail, "no mqtt_username", "mqtt_username ="},
	{"a token that is none", func(t *testing.T, w *ward) { w.identity = "mqtt_username = hello\n" }, "identity file", Fail, "not a JSON Web Token", "three parts"},
	{"two tokens", func(t *testing.T, w *ward) { w.identity += "mqtt_username = e30.e30.c2ln\n" }, "identity file", Warn, "several different values", "one line"},
	{"a token for everybody", func(t *testing.T, w *ward) {
		if err := os.Chmod(w.write(t, "spoke-zone.conf", ""), 0o644); err != nil {
			t.Fatal(err)
		}
	}, "identity file", Warn, "every local user can read", "chmod"},
	{"an identity file that stays old", func(t *testing.T, w *ward) {
		w.status.Token.Stored = local.Stored{State: true, Error: "read-only file system"}
	}, "identity file", Warn, "read-only file system", "writable"},
	{"no cpu_id", func(t *testing.T, w *ward) { w.identity = "uuid = 6f1c\nmqtt_username = e30.e30.c2ln\n" }, "cpu_id", Fail, "/proc/cpuinfo: absent", "[identity] cpu_id"},
	{"no uuid", func(t *testing.T, w *ward) { w.identity = "cpu_id = 0a1b\nmqtt_username = e30.e30.c2ln\n" }, "uuid", Fail, "settings: absent; identity_file: absent; state: absent", "[identity] uuid"},
	{"two that differ", func(t *testing.T, w *ward) { w.settings = "[identity]\ncpu_id = other\n" }, "cpu_id", Warn, `settings: "other", used; identity_file: "0a1b"`, "try another"},
	{"one that the cloud refuses", func(t *testing.T, w *ward) { w.status.Token.Refusal = 400 }, "cpu_id", Fail, `the cloud answered 400`, "compare with the device's entry"},
	{"one that the daemon cannot read", func(t *testing.T, w *ward) {
		w.status.Identity.Sources = []local.Source{{Key: "cpu_id", Name: "identity_file", State: "absent"}}
	}, "cpu_id", Fail, "the daemon cannot read identity_file there", "[identity] cpu_id"},
	{"a clock in 1970", func(t *testing.T, w *ward) {
		w.running = local.ErrNotRunning
		w.now = func() time.Time { return time.Unix(100, 0) }
	}, "clock", Warn, "1970-01-01 00:01 UTC, which cannot be", "NTP"},
	{"a clock that is an hour slow", func(t *testing.T, w *ward) { w.status.Clock.ServerOffset = 3600 }, "clock", Warn, "1h0m0s ahead", "NTP"},
	{"a state directory that takes nothing", func(t *testing.T, w *ward) {
		w.status.Token.Stored = local.Stored{Error: "store tokens: read-only file system"}
	}, "state", Fail, "cannot store its token: store tokens: read-only file system", "paths.state"},
	{"no name server", func(t *testing.T, w *ward) {
		w.Lookup = func(context.Context, string) ([]string, error) { return nil, &net.DNSError{Err: "no such host"} }
		w.settings = "[cloud]\nurl = https://api.example.org\n"
	}, "api", Fail, "the name api.example.org is not found", "resolv.conf"},
	{"a firewall", func(t *testing.T, w *ward) {
		w.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrDeadlineExceeded }
	}, "broker", Fail, "no connection to ", "firewall"},
	{"a CA that is not known", func(t *testing.T, w *ward) {
		w.listen(t)
		w.write(t, "ca.pem", string(cloudtest.New(cloudtest.Options{}).CA()))
	}, "api", Fail, "signed by nobody", "cloud.ca_file"},
	{"a file without a CA", func(t *testing.T, w *ward) { w.write(t, "ca.pem", "hello") }, "broker", Fail, "no certificate in PEM", "PEM"},
	{"a certificate of next year", func(t *testing.T, w *ward) {
		w.listen(t)
		w.Built = w.cloud.Now().AddDate(-1, 0, 0)
		w.now = func() time.Time { return w.cloud.Now().AddDate(0, -6, 0) }
	}, "api", Fail, "is not valid at ", "set the clock"},
	{"a token that is stale", func(t *testing.T, w *ward) {
		w.status.Token.State, w.status.Token.Attempt, w.status.Token.Spent = "stale", 5, 0.5
	}, "token", Warn, "not renewed in 5 attempts (expires ", "why token"},
	{"a token that is refused", func(t *testing.T, w *ward) { w.status.Token.State = "refused" }, "token", Fail, "the cloud refuses", "cpu_id"},
	{"a token that is refused for good", func(t *testing.T, w *ward) {
		w.status.Token.State, w.status.Token.PointOfNoReturn = "refused", w.cloud.Now().Add(-time.Hour)
	}, "token", Fail, "the cloud refuses", "adopt -"},
	{"a token that is lost", func(t *testing.T, w *ward) { w.status.Token.State = "expired" }, "token", Fail, "cannot be renewed any more", "adopt -"},
	{"no token", func(t *testing.T, w *ward) { w.status.Token.State = "none" }, "token", Fail, "there is none", "provision"},
	{"a token in the file that is too old", func(t *testing.T, w *ward) {
		w.running = local.ErrNotRunning
		w.now = func() time.Time { return w.cloud.Now().AddDate(0, 1, 0) }
	}, "token", Fail, "too old to be renewed", "adopt -"},
	{"no daemon while it is time to renew", func(t *testing.T, w *ward) {
		w.running = local.ErrNotRunning
		w.now = func() time.Time { return w.cloud.Now().Add(cloudtest.DefaultTokenLife - time.Hour) }
	}, "token", Warn, "it is time to renew it", "start the daemon"},
	{"no daemon", func(t *testing.T, w *ward) { w.running = local.ErrNotRunning }, "daemon", Fail, "no agent answers", "systemctl"},
	{"no right to ask it", func(t *testing.T, w *ward) { w.running = fmt.Errorf("%w: %w", local.ErrNotRunning, fs.ErrPermission) }, "daemon", Warn, "no agent answers", "as root"},
	{"a daemon that is confused", func(t *testing.T, w *ward) { w.running = context.DeadlineExceeded }, "daemon", Fail, "does not answer as it should", "restart"},
	{"a daemon before the upgrade", func(t *testing.T, w *ward) { w.status.Version = "1.0.0" }, "daemon", Warn, "runs version 1.0.0, this program is 1.2.3", "restart"},
	{"a session that is refused", func(t *testing.T, w *ward) { w.status.MQTT.State = "refused" }, "session", Fail, "refuses the token", "token above"},
	{"a session that is down", func(t *testing.T, w *ward) { w.status.MQTT.State = "offline" }, "session", Warn, "offline", "broker above"},
	{"subscriptions that are refused", func(t *testing.T, w *ward) { w.status.MQTT.RefusedFilters = []string{"a/#"} }, "session", Warn, "a/#", "topic_base"},
	{"files that are lost", func(t *testing.T, w *ward) { w.status.Upload.Dropped = 3 }, "spool", Warn, "3 lost for want of room", "max_spool"},
	{"uploads that fail", func(t *testing.T, w *ward) { w.status.Upload.Error = "503" }, "spool", Warn, "last error: 503", "why upload"},
	{"no drop box", func(t *testing.T, w *ward) {
		if err := os.Remove(filepath.Join(w.dir, "spool")); err != nil {
			t.Fatal(err)
		}
	}, "spool", Warn, "is not there", "1777"},
}
