package agent

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

func TestAFetchIsOverWhenTheReleaseIsAtHandOrWaits(t *testing.T) {
	soon := time.Now()
	for _, tt := range []struct {
		status ota.ModuleStatus
		over   bool
		err    string
	}{
		{ota.ModuleStatus{Phase: ota.Selected}, false, ""},
		{ota.ModuleStatus{Phase: ota.Downloading, LastError: "of an earlier try"}, false, ""},
		{ota.ModuleStatus{Phase: ota.Verified}, false, ""},
		{ota.ModuleStatus{Phase: ota.Downloading, NextTry: soon, LastError: "no route to host"}, true, "fetch app: no route to host"},
		{ota.ModuleStatus{Phase: ota.Ready}, true, ""},
		{ota.ModuleStatus{Phase: ota.Installing}, true, ""},
		{ota.ModuleStatus{Phase: ota.Idle}, true, ""},
	} {
		tt.status.Module = "app"
		over, err := fetched([]ota.ModuleStatus{{Module: "other"}, tt.status}, "app")
		got := ""
		if err != nil {
			got = err.Error()
		}
		if over != tt.over || got != tt.err {
			t.Errorf("%v: got %v, %q", tt.status.Phase, over, got)
		}
	}
	if over, err := fetched(nil, "app"); !over || err != nil {
		t.Errorf("of a module that is gone: %v, %v", over, err)
	}
}

// TestFetchLastsUntilTheReleaseIsAtHand so that a person sees its progress, and
// ends with the reason where it has to wait.
func TestFetchLastsUntilTheReleaseIsAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.start(t)
		gw.module(t, "looked for", func(m local.Module) bool { return !m.LastCheck.IsZero() })
		cloud.Offer("display", "2.0.0", cloudtest.Seeded(1, 1<<16))
		cloud.MustSet(cloudtest.SlowBody, cloudtest.Always.With("4096"))
		begin := time.Now()
		if err := gw.g.fetch(t.Context(), "display"); err != nil {
			t.Fatal(err)
		}
		if m := gw.g.status().OTA[0]; m.Phase != "READY" || time.Since(begin) < 10*time.Second {
			t.Errorf("after %v it is %s", time.Since(begin), m.Phase)
		}
		cloud.Offer("display", "3.0.0", cloudtest.Seeded(2, 1<<16))
		cloud.MustSet(cloudtest.ServerError, cloudtest.Always.On("ota-file"))
		if err := gw.g.fetch(t.Context(), "display"); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("of a cloud that does not send it: %v", err)
		}
		gw.stop(t)
	})
}
