package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/agent/telemetry"
)

// topics counts what the cloud got of a gateway since the last call.
func (gw *gateway) topics(before *int) map[string]int {
	all := gw.cloud.Messages()
	counts := map[string]int{}
	for _, m := range all[*before:] {
		counts[m.Topic]++
	}
	*before = len(all)
	return counts
}

func TestDebugOnlySilencesEveryOtherPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.start(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		gw.g.location.Source, gw.g.location.Distance = fixed{}, 0
		go func() {
			done <- RunTasks(ctx, gw.g.Log, Task{"broadcast", gw.g.broadcast.Run}, Task{"location", gw.g.location.Run})
		}()
		base := fmt.Sprintf("mrs/d/%d/", gw.device.ID)
		level := func(payload string) {
			t.Helper()
			if err := cloud.Command(gw.device.ID, "diagnostics", []byte(payload)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
		seen := 0
		time.Sleep(10 * time.Minute)
		if got := gw.topics(&seen); got[base+"mon/versions"] < 9 || got[base+"mon/location"] < 9 || got[base+"mon/diagnostics"] != 0 {
			t.Errorf("level normal: %v", got)
		}
		level(`"{\"level\":\"debug-only\",\"broadcast_interval\":60}"`) // as a dashboard's widget sends it
		gw.topics(&seen)
		time.Sleep(10 * time.Minute)
		if got := gw.topics(&seen); got[base+"mon/versions"] != 0 || got[base+"mon/diagnostics"] != 10 || len(got) != 1 {
			t.Errorf("level debug-only: %v", got)
		}
		if err := gw.g.reportVersions(t.Context(), "display"); err == nil || !strings.Contains(err.Error(), "level of diagnostics") {
			t.Errorf("the outcome of an update may be published: %v", err)
		}
		if err := gw.g.publish(t.Context(), local.Publication{Topic: "mon/held"}); err != nil {
			t.Errorf("a message that can wait in the outbox is not taken: %v", err)
		}
		zero := byte(0)
		err := gw.g.publish(t.Context(), local.Publication{Topic: "mon/door", QoS: &zero})
		var refused *local.Error
		if !errors.As(err, &refused) || refused.Code != local.Unavailable || !strings.Contains(refused.Reason, "debug-only") {
			t.Errorf("a local program may publish: %v", err)
		}
		time.Sleep(time.Minute)
		if got := gw.topics(&seen); got[base+"mon/held"] != 0 {
			t.Errorf("level debug-only: %v", got)
		}
		level(`{"level":"debug"}`)
		if got := gw.topics(&seen); got[base+"mon/held"] != 1 {
			t.Errorf("the level was lifted, and what waited did not come: %v", got)
		}
		time.Sleep(10 * time.Minute)
		if got := gw.topics(&seen); got[base+"mon/versions"] < 9 || got[base+"mon/location"] < 9 || got[base+"mon/diagnostics"] != 0 {
			t.Errorf("level debug: %v", got)
		}
		if err := gw.g.reportVersions(t.Context(), "display"); err != nil {
			t.Errorf("the outcome of an update is not published: %v", err)
		}
		if err := gw.g.publish(t.Context(), local.Publication{Topic: "mon/door"}); err != nil {
			t.Errorf("publish: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		gw.stop(t)
	})
}

// fixed is a source of one place.
type fixed struct{}

func (fixed) Fix(context.Context) (telemetry.Fix, error) { return telemetry.Fix{}, nil }
func (fixed) Close() error                               { return nil }

// The cloud's documents print another root; the answer goes where the question
// came from.
func TestDiagnosticsUnderTheOtherRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		const other = "mon/d/124"
		gw.device = cloud.AddDevice(cloudtest.Device{CPUID: "0a1b2c3d", UUID: "6f1c", Further: []string{other}})
		gw.provision(t, cloud.Issue(gw.device.ID, 0))
		gw.start(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- gw.g.broadcast.Run(ctx) }()
		time.Sleep(time.Minute)
		if err := cloud.Publish(cloudtest.Message{Topic: other + "/ctrl/diagnostics", Payload: []byte(`{"broadcast_interval":10}`), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		seen := len(cloud.Messages())
		time.Sleep(time.Minute)
		s, _ := gw.g.diagnostics.State()
		if s.Base != other || s.Broadcast != 10*time.Second || s.Level.Level != telemetry.LevelNormal {
			t.Errorf("%+v", s)
		}
		if got := gw.topics(&seen); got[other+"/mon/diagnostics"] < 5 {
			t.Errorf("%v", got)
		}
		for _, m := range cloud.Messages() {
			if strings.HasSuffix(m.Topic, "/mon/diagnostics") && !json.Valid(m.Payload) {
				t.Errorf("payload %q", m.Payload)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		gw.stop(t)
	})
}
