package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// A hook installs by writing the file that tells the version.
type hook struct {
	version string // the file
	change  func() // what else the new version brings; may be nil

	mu    sync.Mutex
	calls []ota.Verb
}

func (h *hook) Do(_ context.Context, v ota.Verb, t ota.Txn) (ota.Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, v)
	switch v {
	case ota.HookProbe:
		now, err := os.ReadFile(h.version)
		if strings.TrimSpace(string(now)) == string(t.To) {
			return ota.Result{Code: ota.HookActive}, err
		}
		return ota.Result{Code: ota.HookPrevious}, err
	case ota.HookInstall:
		if h.change != nil {
			h.change()
		}
		return ota.Result{}, os.WriteFile(h.version, []byte(t.To+"\n"), 0o600)
	case ota.HookRollback:
		return ota.Result{}, os.WriteFile(h.version, []byte(t.From+"\n"), 0o600)
	}
	return ota.Result{}, nil
}

func (h *hook) Last(context.Context, ota.Verb, ota.Txn) (ota.Result, bool, error) {
	return ota.Result{}, false, nil
}
func (h *hook) Running(context.Context, ota.Txn) (<-chan struct{}, error) { return nil, nil }
func (h *hook) Reboot(context.Context, ota.Txn) error                     { return nil }

func (h *hook) did() (text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range h.calls {
		text += string(v) + " "
	}
	return strings.TrimSpace(text)
}

// module waits, for a day at most, until the status of the only module is so.
func (gw *gateway) module(t *testing.T, what string, so func(local.Module) bool) local.Module {
	t.Helper()
	for range 24 * 3600 {
		if m := gw.g.status().OTA[0]; so(m) {
			return m
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("not %s: %+v", what, gw.g.status().OTA[0])
	return local.Module{}
}

// TestUpdateAtTheCloudsWord goes by ctrl/install-update to COMMITTED, and the
// cloud knows the new version at once.
func TestUpdateAtTheCloudsWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		h := &hook{version: filepath.Join(gw.dir, "version")}
		gw.installer = h
		cloud.Offer("display", "2.0.0", cloudtest.Seeded(1, 1<<16))
		gw.start(t)
		m := gw.module(t, "ready", func(m local.Module) bool { return m.Phase == "READY" && m.Waits != "" })
		if !strings.HasSuffix(m.Reason, "policy fetch waits for a person's word: ota install") || h.did() != "info check" {
			t.Errorf("called %s: %s", h.did(), m.Reason)
		}
		if got := cloud.Versions(gw.device.ID)["display"]; got != "1.2.3" {
			t.Errorf("the cloud knows version %q", got)
		}
		if err := cloud.Command(gw.device.ID, "install-update", []byte("display")); err != nil {
			t.Fatal(err)
		}
		m = gw.module(t, "on probation", func(m local.Module) bool { return m.Phase == "VERIFYING" })
		if !strings.HasPrefix(m.Reason, "2.0.0 runs on probation, until its hook, the token and the MQTT session have been well") {
			t.Errorf("got %s", m.Reason)
		}
		begin := time.Now().Add(-time.Second) // it may have begun since the look before
		m = gw.module(t, "over", func(m local.Module) bool { return m.Phase == "IDLE" && m.Outcome != "" })
		if took := time.Since(begin); m.Outcome != "2.0.0 COMMITTED: installed and proven" || took < 5*time.Minute || took > 10*time.Minute {
			t.Errorf("%s after %v", m.Outcome, took)
		}
		time.Sleep(10 * time.Second)
		if got := cloud.Versions(gw.device.ID)["display"]; got != "2.0.0" {
			t.Errorf("the cloud knows version %q", got)
		}
		if got, want := h.did(), "info check probe install verify probe commit cleanup"; got != want {
			t.Errorf("called %s, want %s", got, want)
		}
		gw.stop(t)
	})
}

// TestUpdateThatTheBrokerRefuses is undone: the broker refuses the new version
// until its time is over.
func TestUpdateThatTheBrokerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		h := &hook{version: filepath.Join(gw.dir, "version")}
		h.change = func() {
			cloud.MustSet(cloudtest.RefuseConnect, cloudtest.Always)
			cloud.Kick(gw.device.ID)
		}
		gw.installer, gw.conf.Modules[0].Policy = h, "install"
		cloud.Offer("display", "2.0.0", cloudtest.Seeded(1, 1<<16))
		gw.start(t)
		gw.module(t, "on probation", func(m local.Module) bool { return m.Phase == "VERIFYING" })
		begin := time.Now()
		m := gw.module(t, "over", func(m local.Module) bool { return m.Phase == "IDLE" && m.Outcome != "" })
		took := time.Since(begin)
		const why = "the new version does not reach the cloud within 30m0s: the MQTT session is not up"
		if m.Outcome != "2.0.0 FAILED: "+why || took < 30*time.Minute || took > 35*time.Minute {
			t.Errorf("%s after %v", m.Outcome, took)
		}
		if got, want := h.did(), "info check probe install verify rollback probe cleanup"; got != want {
			t.Errorf("called %s, want %s", got, want)
		}
		cloud.MustSet(cloudtest.RefuseConnect, cloudtest.Off)
		m = gw.module(t, "denied", func(m local.Module) bool { return m.Denied != "" })
		if m.Denied != "2.0.0 is passed over: "+why || m.Installed != "1.2.3" {
			t.Errorf("got %+v", m)
		}
		time.Sleep(12 * time.Hour)
		if got := cloud.Versions(gw.device.ID)["display"]; got != "1.2.3" || strings.Count(h.did(), "install") != 1 {
			t.Errorf("the cloud knows version %q; called %s", got, h.did())
		}
		gw.stop(t)
	})
}
