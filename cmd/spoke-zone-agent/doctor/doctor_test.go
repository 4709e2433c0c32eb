package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// A ward is a gateway to be examined, healthy until the test harms it.
type ward struct {
	*Doctor
	cloud    *cloudtest.Cloud
	dir      string
	identity string
	settings string // what follows those of the ward
	status   local.Status
	running  error
	token    string
	addrs    cloudtest.Addrs
}

func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{addrs: cloudtest.MemoryTLSAddrs, dir: t.TempDir(), cloud: cloudtest.New(cloudtest.Options{})}
	t.Cleanup(w.cloud.Close)
	device := w.cloud.AddDevice(cloudtest.Device{CPUID: "0a1b", UUID: "6f1c"})
	w.token = w.cloud.Issue(device.ID, 0)
	w.identity = "cpu_id = 0a1b\nuuid = 6f1c\nmqtt_username = " + w.token + "\n"
	now := w.cloud.Now()
	w.status = local.Status{
		Version: "1.2.3", PID: 42, Started: now.Add(-time.Hour),
		Identity: local.Identity{State: "provisioned"},
		Token:    local.Token{State: "valid", Expires: now.Add(5 * 24 * time.Hour), PointOfNoReturn: now.Add(132 * time.Hour), Stored: local.Stored{State: true, IdentityFile: true}},
		MQTT:     local.MQTT{State: "online", Broker: "mqtts://io.spoke.zone:8883", Since: now.Add(-time.Hour)},
		Clock:    local.Clock{Source: "server"},
	}
	w.Doctor = &Doctor{
		ConfigPath: filepath.Join(w.dir, "agent.conf"), Version: "1.2.3", Built: now.Add(-24 * time.Hour),
		Status: func(context.Context) (local.Status, error) { return w.status, w.running },
		Dial:   w.cloud.DialContext, root: t.TempDir(),
		Lookup:   func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil },
		patience: time.Minute, // not the machine's speed, but what is wrong
	}
	for _, dir := range []string{"state", "spool"} {
		if err := os.Mkdir(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.write(t, "ca.pem", string(w.cloud.CA()))
	return w
}

func (w *ward) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listen puts the cloud on sockets, which hold what the other side does not
// read yet.
func (w *ward) listen(t *testing.T) {
	t.Helper()
	addrs, err := w.cloud.Listen(cloudtest.Listeners{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	w.addrs, w.Dial = addrs, nil
}

// examine writes the ward's files and returns the findings by check.
func (w *ward) examine(t *testing.T) map[string][]Finding {
	t.Helper()
	if w.identity != "" {
		w.write(t, "spoke-zone.conf", w.identity)
	}
	w.write(t, "agent.conf", fmt.Sprintf("[paths]\nidentity = %[1]s/spoke-zone.conf\nstate = %[1]s/state\nspool = %[1]s/spool\nrun = %[1]s/run\n[cloud]\nurl = %[2]s\nca_file = %[1]s/ca.pem\n[mqtt]\nbroker = %[3]s\n%[4]s",
		w.dir, w.addrs.API, w.addrs.MQTT, w.settings))
	found := map[string][]Finding{}
	for _, f := range w.Examine(t.Context()) {
		found[f.Check] = append(found[f.Check], f)
		if f.Verdict != OK && f.Cure == "" || f.Text == "" || strings.Contains(f.Text+f.Cure, w.token) {
			t.Errorf("%+v: no text, no cure, or a token in it", f)
		}
	}
	return found
}

func TestAHealthyGateway(t *testing.T) {
	found := newWard(t).examine(t)
	if len(found) != 13 {
		t.Errorf("%d checks were made", len(found))
	}
	for name, all := range found {
		for _, f := range all {
			if f.Verdict != OK && !(name == "state" && strings.Contains(f.Text, "in memory")) {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}

func TestEachIllnessIsFoundAndCured(t *testing.T) {
	for _, tt := range []struct {
		name  string
		harm  func(t *testing.T, w *ward)
		check string
		want  Verdict
		text  string // in the text of the finding
		cure  string // in its cure
	}{
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
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWard(t)
			tt.harm(t, w)
			all := w.examine(t)[tt.check]
			for _, f := range all {
				if f.Verdict == tt.want && strings.Contains(f.Text, tt.text) && strings.Contains(f.Cure, tt.cure) {
					return
				}
			}
			t.Errorf("got %+v\nwant %s: %q, %q", all, tt.want, tt.text, tt.cure)
		})
	}
}

// A wrong clock does not make a certificate bad: the agent knows better.
func TestTheCertificateIsJudgedAsTheAgentJudgesIt(t *testing.T) {
	w := newWard(t)
	w.now = func() time.Time { return time.Unix(0, 0) }
	for _, check := range []string{"api", "broker"} {
		if f := w.examine(t)[check]; len(f) != 1 || f[0].Verdict != OK || !strings.Contains(f[0].Text, "with a certificate until") {
			t.Errorf("%s: %+v", check, f)
		}
	}
}

// A network that swallows everything, a daemon that hangs, a file system that
// does not answer: the examination ends all the same.
func TestNoCheckTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		w.patience = 0
		w.Lookup = func(ctx context.Context, host string) ([]string, error) {
			if host == "api.example.org" {
				<-ctx.Done()
			}
			return []string{"192.0.2.1"}, ctx.Err()
		}
		w.settings = "[cloud]\nurl = https://api.example.org\n"
		hang := make(chan struct{})
		w.Dial = func(context.Context, string, string) (net.Conn, error) { <-hang; return nil, os.ErrClosed } // deaf to its context
		w.Status = func(ctx context.Context) (local.Status, error) { <-ctx.Done(); return local.Status{}, ctx.Err() }
		start := time.Now()
		found := w.examine(t)
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("it took %v", took)
		}
		if f := found["broker"]; len(f) != 1 || f[0].Verdict != Warn || !strings.Contains(f[0].Text, "did not end within 5s") {
			t.Errorf("broker: %+v", f)
		}
		if f := found["api"]; len(f) != 1 || f[0].Verdict != Fail || !strings.Contains(f[0].Text, "deadline exceeded") {
			t.Errorf("api: %+v", f)
		}
		close(hang)
	})
}

func TestTheWorstVerdictCounts(t *testing.T) {
	for _, tt := range []struct {
		all  []Verdict
		want Verdict
	}{{nil, OK}, {[]Verdict{OK, OK}, OK}, {[]Verdict{OK, Warn, OK}, Warn}, {[]Verdict{Warn, Fail, Warn, OK}, Fail}, {[]Verdict{Fail, Warn}, Fail}} {
		var all []Finding
		for _, v := range tt.all {
			all = append(all, Finding{Verdict: v})
		}
		if got := Worst(all); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.all, got, tt.want)
		}
	}
}
