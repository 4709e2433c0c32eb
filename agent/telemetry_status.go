package agent

import (
	"fmt"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// telemetryStatus gathers what the commands, the level of diagnostics, the
// location and the bridge say of themselves.
func (g *generation) telemetryStatus(s *local.Status) {
	c := g.commands.Status()
	s.Commands = local.Commands{
		Done: c.Done, Failed: c.Failed, Ignored: c.Ignored, Dropped: c.Dropped, Unknown: c.Unknown,
		Running: c.Running, Queued: c.Queued, Last: c.Last, LastAt: c.LastAt, LastError: c.LastError,
	}
	d, _ := g.diagnostics.State()
	s.Diagnostics = local.Diagnostics{Level: d.Level.Level, DebugLevel: d.DebugLevel, Broadcast: d.Broadcast.Seconds(), Until: d.Until, Error: d.Err}
	for _, r := range g.recorder.Status() {
		s.Diagnostics.Recorded = append(s.Diagnostics.Recorded, local.Recorded(r))
	}
	l := g.location.Status()
	s.Location = local.Location{Source: g.conf.Telemetry.LocationSource, Fix: l.Fix, Published: l.Published, Error: l.Err}
	if g.bridge != nil {
		for _, b := range g.bridge.Status() {
			s.Bridge = &local.Bridge{File: b.File, State: string(b.State), Written: b.Written, Error: b.Error}
		}
	}
}

// telemetryProblems are what of that a person must know.
func (g *generation) telemetryProblems(s local.Status) (p []string) {
	if s.Diagnostics.Level == "debug-only" {
		p = append(p, fmt.Sprintf("the cloud has set the level of diagnostics to debug-only, until %s at most: nothing else is published",
			s.Diagnostics.Until.UTC().Format(time.RFC3339)))
	}
	if s.Diagnostics.Error != "" {
		p = append(p, "the level of diagnostics is not stored and would be lost with the power: "+s.Diagnostics.Error)
	}
	for _, r := range s.Diagnostics.Recorded {
		if r.Error != "" {
			p = append(p, fmt.Sprintf("diagnostics of type %s are not recorded: %s", r.Type, r.Error))
		}
	}
	if s.Bridge != nil && s.Bridge.Error != "" {
		p = append(p, "bridge: "+s.Bridge.Error)
	}
	return p
}
