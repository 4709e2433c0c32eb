package agent

import (
	"context"
	"path/filepath"

	"github.com/spoke-zone/spoke-zone-agent/agent/telemetry"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

// newDiagnostics joins the level of diagnostics to its record.
func (g *generation) newDiagnostics() *telemetry.Control {
	c := &telemetry.Control{
		Path: filepath.Join(g.conf.Paths.State, "diagnostics"), Least: g.conf.Diagnostics.MinInterval, Most: g.conf.Diagnostics.MaxTime,
		Now: g.clock.Now, Log: g.Log.With("task", "diagnostics"),
	}
	c.Load()
	return c
}

// newBroadcast joins the broadcasts to the level and to the session.
func (g *generation) newBroadcast() *telemetry.Broadcast {
	return &telemetry.Broadcast{
		State: g.diagnostics.State, Module: g.diagnosticsModule(), Sensors: &telemetry.Sensors{Disk: g.conf.Paths.State},
		Now: g.clock.Now, Online: g.online, Log: g.Log.With("task", "diagnostics"),
		// To the root that asked: the cloud's documents name two.
		Publish: func(ctx context.Context, base string, payload []byte) error {
			return g.session.Publish(ctx, mqtt.Message{Topic: base + "/mon/diagnostics", Payload: payload, QoS: 1, Keep: mqtt.KeepNone})
		},
	}
}

// diagnosticsModule is the module that the gateway itself reports as: by the
// settings, else the first one there.
func (g *generation) diagnosticsModule() string {
	switch {
	case g.conf.Diagnostics.Module != "":
		return g.conf.Diagnostics.Module
	case len(g.conf.Modules) > 0:
		return g.conf.Modules[0].Key
	}
	return "gateway"
}

// mayPublish says whether anything but diagnostics can be published now: the
// session is up, and the level of diagnostics does not forbid it. changed is
// closed when that may be otherwise.
func (g *generation) mayPublish() (may bool, changed <-chan struct{}) {
	if s, lifted := g.diagnostics.State(); s.Quiet() {
		return false, lifted
	}
	return g.online()
}
