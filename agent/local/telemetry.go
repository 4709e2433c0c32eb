package local

import (
	"slices"
	"time"
)

// Commands tells what became of the cloud's commands. Counts are since the
// start.
type Commands struct {
	Done      int       `json:"done"`
	Failed    int       `json:"failed"`
	Ignored   int       `json:"ignored"` // kept by the broker, where the settings do not allow that
	Dropped   int       `json:"dropped"` // too many waited
	Unknown   int       `json:"unknown"`
	Running   []string  `json:"running,omitempty"`
	Queued    int       `json:"queued"`
	Last      string    `json:"last,omitempty"` // the one that ended last
	LastAt    time.Time `json:"last_at,omitzero"`
	LastError string    `json:"last_error,omitempty"`
}

// Diagnostics tells which level of diagnostics the cloud has set.
type Diagnostics struct {
	Level      string    `json:"level"` // normal, debug or debug-only
	DebugLevel string    `json:"debug_level"`
	Broadcast  float64   `json:"broadcast_interval"` // seconds; 0: none
	Until      time.Time `json:"until,omitzero"`     // when it falls back to normal
	Error      string    `json:"error,omitempty"`    // why it would not survive a restart
	// Recorded are the types of data files that are recorded while the level is
	// not normal.
	Recorded []Recorded `json:"recorded,omitempty"`
}

// Recorded tells of one type of data files that the agent records itself.
// Counts are since the start.
type Recorded struct {
	Type    string    `json:"type"` // journal, dmesg or debug
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"`
	Last    time.Time `json:"last,omitzero"`     // when the newest was recorded
	Skipped int       `json:"skipped,omitempty"` // lines for which there was no room
	Error   string    `json:"error,omitempty"`
}

// Location tells how the source of the location is, not where the device is.
type Location struct {
	Source    string    `json:"source"` // as in the settings
	Fix       bool      `json:"fix"`
	Published time.Time `json:"published,omitzero"`
	Error     string    `json:"error,omitempty"`
}

// Bridge tells of the settings that are kept for a local broker's bridge.
type Bridge struct {
	File    string    `json:"file"`
	State   string    `json:"state"`
	Written time.Time `json:"written,omitzero"` // since the start
	Error   string    `json:"error,omitempty"`
}

// levels are the values of the label level.
var levels = []string{"normal", "debug", "debug-only"}

// telemetry writes the metrics of what goes to and fro beside the token.
func (m *metricsText) telemetry(s Status) {
	for _, outcome := range []struct {
		name string
		n    int
	}{{"done", s.Commands.Done}, {"failed", s.Commands.Failed}, {"ignored", s.Commands.Ignored}, {"dropped", s.Commands.Dropped}, {"unknown", s.Commands.Unknown}} {
		m.counter("commands_total", "Messages under ctrl/ since the start, by what became of them.", float64(outcome.n), "outcome", outcome.name)
	}
	m.gauge("commands_running", "Programs of commands that run now.", float64(len(s.Commands.Running)))
	m.gauge("commands_queued", "Messages under ctrl/ that wait for their turn.", float64(s.Commands.Queued))
	for _, l := range levels {
		m.gauge("diagnostics_level", "1 for the level of diagnostics in force.", truth(s.Diagnostics.Level == l), "level", l)
	}
	for _, r := range s.Diagnostics.Recorded {
		m.counter("diagnostics_files_total", "Data files of diagnostics recorded since the start, by type.", float64(r.Files), "type", r.Type)
	}
	for _, r := range s.Diagnostics.Recorded {
		m.counter("diagnostics_bytes_total", "Their bytes.", float64(r.Bytes), "type", r.Type)
	}
	for _, r := range s.Diagnostics.Recorded {
		m.gauge("diagnostics_failed", "1 while such files cannot be recorded.", truth(r.Error != ""), "type", r.Type)
	}
	m.gauge("location_fix", "1 while the device knows where it is.", truth(s.Location.Fix))
	m.gauge("bridge_failed", "1 while the settings of the local broker's bridge cannot be kept.", truth(s.Bridge != nil && s.Bridge.Error != ""))
}

// tidyTelemetry makes the times fit for the wire.
func (s *Status) tidyTelemetry() {
	for _, t := range []*time.Time{&s.Commands.LastAt, &s.Diagnostics.Until, &s.Location.Published} {
		*t = wireTime(*t)
	}
	s.Diagnostics.Recorded = slices.Clone(s.Diagnostics.Recorded)
	for i := range s.Diagnostics.Recorded {
		r := &s.Diagnostics.Recorded[i]
		r.Last = wireTime(r.Last)
	}
	if s.Bridge != nil {
		b := *s.Bridge
		b.Written = wireTime(b.Written)
		s.Bridge = &b
	}
}
