package doctor

import (
	"context"
	"fmt"
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
		Identity: local.Identity{State: "provisioned", Error: "no identity file"},
		Token:    local.Token{State: "valid", LastError: "POST /loginDevice: 503", Expires: now.Add(5 * 24 * time.Hour), PointOfNoReturn: now.Add(132 * time.Hour), Stored: local.Stored{State: true, IdentityFile: true}},
		MQTT:     local.MQTT{State: "online", Error: "no route to host", Broker: "mqtts://io.spoke.zone:8883", Since: now.Add(-time.Hour)},
		Clock:    local.Clock{Source: "server"},
		Sandbox:  local.Sandbox{Landlock: 5},
	}
	w.Doctor = &Doctor{
		ConfigPath: filepath.Join(w.dir, "agent.conf"), Version: "1.2.3", Built: now.Add(-24 * time.Hour),
		Status: func(context.Context) (local.Status, error) { return w.status, w.running },
		Dial:   w.cloud.DialContext, root: t.TempDir(),
		Lookup:   func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil },
		patience: time.Minute, // not the machine's speed, but what is wrong
		disk: func(dir string) (int64, string, error) {
			_, err := os.Stat(dir)
			return 1 << 30, "ext4", err
		},
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

// examined writes the ward's files and returns the findings.
func (w *ward) examined(t *testing.T) []Finding {
	t.Helper()
	if w.identity != "" {
		w.write(t, "spoke-zone.conf", w.identity)
	}
	w.write(t, "agent.conf", fmt.Sprintf("[paths]\nidentity = %[1]s/spoke-zone.conf\nstate = %[1]s/state\nspool = %[1]s/spool\nrun = %[1]s/run\n[cloud]\nurl = %[2]s\nca_file = %[1]s/ca.pem\n[mqtt]\nbroker = %[3]s\n%[4]s",
		w.dir, w.addrs.API, w.addrs.MQTT, w.settings))
	all := w.Examine(t.Context())
	for _, f := range all {
		if f.Verdict != OK && f.Cure == "" || f.Text == "" || strings.Contains(f.Text+f.Cure, w.token) {
			t.Errorf("%+v: no text, no cure, or a token in it", f)
		}
	}
	return all
}

// examine is examined by check.
func (w *ward) examine(t *testing.T) map[string][]Finding {
	t.Helper()
	found := map[string][]Finding{}
	for _, f := range w.examined(t) {
		found[f.Check] = append(found[f.Check], f)
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
			if f.Verdict != OK {
				t.Errorf("%s: %+v", name, f)
			}
		}
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
