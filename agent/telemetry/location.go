package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// Waits of a Location.
const (
	atRest    = time.Hour        // between two locations of a device that does not move
	sourceGap = 10 * time.Minute // the longest wait for a source that fails
)

// Location publishes where the device is: at an interval, once it has moved far
// enough, and only when it knows. Set its fields before Run.
type Location struct {
	Every    time.Duration // between two looks
	Distance float64       // metres to move between two publishes; 0: publish at each look
	Source   Source        // nil: none, Run only waits
	Publish  func(ctx context.Context, payload []byte) error
	Online   func() (online bool, changed <-chan struct{})
	Log      *slog.Logger

	status latest.Value[LocationStatus]

	// Only Run touches these.
	last     Fix
	at       time.Time // of the last publish; zero: none since the session came
	heading  float64   // the last one known: at rest there is none
	failures int
}

// A LocationStatus tells how the source is, not where the device is: everybody
// on the gateway may read it.
type LocationStatus struct {
	Fix       bool      // whether the last look found out where the device is
	Err       string    // why it did not
	Published time.Time // the last time; zero if never
}

// Status returns what is known now.
func (l *Location) Status() LocationStatus {
	s, _, _ := l.status.Get()
	return s
}

// Run publishes while the session is online until ctx is done. While it is not,
// the source is left alone.
func (l *Location) Run(ctx context.Context) error {
	if l.Source == nil {
		<-ctx.Done()
		return nil
	}
	defer func() { _ = l.Source.Close() }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for ctx.Err() == nil {
		online, changed := l.Online()
		timer.Stop()
		switch {
		case !online:
			l.at, due = time.Time{}, time.Now()
			_ = l.Source.Close()
		case !time.Now().Before(due):
			l.look(ctx)
			due = time.Now().Add(l.wait())
			fallthrough
		default:
			timer.Reset(time.Until(due))
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
	}
	return nil
}

// wait is until the next look. A source that fails is tried less and less
// often: on most gateways there is none.
func (l *Location) wait() time.Duration {
	wait := max(l.Every, time.Second)
	for range l.failures {
		if wait >= sourceGap {
			break
		}
		wait = min(2*wait, sourceGap)
	}
	return wait
}

// look finds out where the device is and publishes it if that is due.
func (l *Location) look(ctx context.Context) {
	fix, err := l.Source.Fix(ctx)
	if ctx.Err() != nil {
		return
	}
	s := l.Status()
	was := s
	s.Fix, s.Err = err == nil, ""
	switch {
	case err == nil:
		l.failures = 0
	case errors.Is(err, ErrNoFix):
		l.failures, s.Err = 0, err.Error()
	default:
		l.failures, s.Err = l.failures+1, err.Error()
	}
	if err == nil && l.due(fix) && l.publish(ctx, fix) {
		s.Published = time.Now()
	}
	if s.Fix != was.Fix || s.Err != was.Err {
		l.Log.Debug("location", "fix", s.Fix, "err", s.Err)
	}
	l.status.Set(s)
}

func (l *Location) due(f Fix) bool {
	return l.at.IsZero() || l.Distance <= 0 || metres(l.last, f) >= l.Distance || time.Since(l.at) >= atRest
}

// A place is the payload of a location: all four are numbers in MRS's SDK.
type place struct {
	Lat     float64 `json:"lat"`
	Lon     float64 `json:"lon"`
	Heading float64 `json:"heading"` // degrees; at rest the last one known
	Speed   float64 `json:"speed"`   // metres per second
}

func (l *Location) publish(ctx context.Context, f Fix) bool {
	if f.Heading != nil {
		l.heading = *f.Heading
	}
	// Seven decimals are a centimetre.
	payload, err := json.Marshal(place{round(f.Lat, 7), round(f.Lon, 7), round(l.heading, 1), round(f.Speed, 2)})
	if err == nil {
		err = l.Publish(ctx, payload)
	}
	if err != nil {
		l.Log.Debug("location not published", "err", err)
		return false
	}
	l.last, l.at = f, time.Now()
	return true
}
