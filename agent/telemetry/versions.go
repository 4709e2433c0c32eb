// Package telemetry publishes what the device measures of itself.
package telemetry

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Versions publishes the installed software versions: a flat JSON object from
// module key to version, at an interval and, after a Nudge, if one has changed. Set its
// fields before Run.
type Versions struct {
	Every   time.Duration // 60 s in MRS's SDK
	Read    func(ctx context.Context) map[string]string
	Publish func(ctx context.Context, payload []byte) error
	Online  func() (online bool, changed <-chan struct{})
	Alive   func() // called at each turn of the loop; may be nil
	Log     *slog.Logger

	once   sync.Once
	nudged chan struct{}
}

// Nudge asks for a look at the versions now.
func (v *Versions) Nudge() {
	select {
	case v.bell() <- struct{}{}:
	default: // a look is due already
	}
}

func (v *Versions) bell() chan struct{} {
	v.once.Do(func() { v.nudged = make(chan struct{}, 1) })
	return v.nudged
}

// Run publishes while the session is online until ctx is done.
func (v *Versions) Run(ctx context.Context) error {
	var last map[string]string
	var at time.Time
	for ctx.Err() == nil {
		if v.Alive != nil {
			v.Alive()
		}
		online, changed := v.Online()
		if !online {
			at = time.Time{} // publish at once when the session is back
		} else if now := v.Read(ctx); len(now) > 0 && (at.IsZero() || time.Since(at) >= v.Every || !maps.Equal(now, last)) {
			if v.publish(ctx, now) {
				last, at = now, time.Now()
			}
		}
		timer := time.NewTimer(v.wait(at))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-v.bell():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// wait is until the next time to publish, or to try again.
func (v *Versions) wait(at time.Time) time.Duration {
	every := max(v.Every, time.Second)
	if at.IsZero() {
		return every
	}
	return max(every-time.Since(at), time.Second)
}

func (v *Versions) publish(ctx context.Context, versions map[string]string) bool {
	payload, err := json.Marshal(versions)
	if err == nil {
		err = v.Publish(ctx, payload)
	}
	if err != nil && ctx.Err() == nil {
		v.Log.Debug("versions not published", "err", err)
	}
	return err == nil
}
