// Package telemetry publishes what the device measures of itself.
package telemetry

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"time"
)

// changeCheck is how often Versions looks for a change between two intervals.
const changeCheck = 30 * time.Second

// Versions publishes the installed software versions: a flat JSON object from
// module key to version, at an interval and as soon as one changes. Set its
// fields before Run.
type Versions struct {
	Every   time.Duration // 60 s in MRS's SDK
	Read    func(ctx context.Context) map[string]string
	Publish func(ctx context.Context, payload []byte) error
	Online  func() (online bool, changed <-chan struct{})
	Alive   func() // called at each turn of the loop; may be nil
	Log     *slog.Logger
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
		wait := max(v.Every, time.Second)
		if online {
			now := v.Read(ctx)
			if len(now) > 0 && (at.IsZero() || time.Since(at) >= v.Every || !maps.Equal(now, last)) {
				if v.publish(ctx, now) {
					last, at = now, time.Now()
				}
			}
			wait = min(wait, changeCheck)
		} else {
			at = time.Time{} // publish at once when the session is back
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
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
