package telemetry

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// firstBroadcast is how long after its start a broadcast first measures: the
// use of the processors is a difference of two readings.
const firstBroadcast = time.Second

// A Broadcast publishes how the device is, while the cloud asks for it. Set its
// fields before Run.
type Broadcast struct {
	State   func() (State, <-chan struct{}) // Control.State
	Module  string                          // the module's key under which it reports
	Sensors *Sensors
	Now     func() time.Time // for the timestamp
	Publish func(ctx context.Context, base string, payload []byte) error
	Online  func() (online bool, changed <-chan struct{})
	Log     *slog.Logger
}

// A report is the payload of one broadcast.
type report struct {
	Level      string             `json:"level"`
	Broadcast  float64            `json:"broadcast_interval"` // seconds
	DebugLevel string             `json:"debug_level"`
	Timestamp  int64              `json:"timestamp"` // Unix, milliseconds
	Modules    map[string]Figures `json:"modules"`
}

// Run broadcasts until ctx is done. While no broadcasts are asked for, or the
// session is down, it sleeps.
func (b *Broadcast) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time // of a broadcast; zero: measure anew
	for ctx.Err() == nil {
		s, changed := b.State()
		online, came := b.Online()
		timer.Stop()
		switch due := last.Add(s.Broadcast); {
		case s.Broadcast == 0 || !online:
			last = time.Time{}
		case last.IsZero():
			b.Sensors.Begin()
			last = time.Now().Add(firstBroadcast - s.Broadcast)
			timer.Reset(min(firstBroadcast, s.Broadcast))
		case time.Now().Before(due):
			timer.Reset(time.Until(due))
		default:
			b.publish(ctx, s)
			last = time.Now()
			timer.Reset(s.Broadcast)
		}
		select {
		case <-ctx.Done():
		case <-changed:
			last = time.Time{}
		case <-came:
		case <-timer.C:
		}
	}
	return nil
}

func (b *Broadcast) publish(ctx context.Context, s State) {
	payload, err := json.Marshal(report{
		s.Level.Level, s.Broadcast.Seconds(), s.DebugLevel, b.Now().UnixMilli(),
		map[string]Figures{b.Module: b.Sensors.Read()},
	})
	if err == nil {
		err = b.Publish(ctx, s.Base, payload)
	}
	if err != nil && ctx.Err() == nil {
		b.Log.Debug("diagnostics not published", "err", err)
	}
}
