package agent

import (
	"context"
	"fmt"

	"github.com/spoke-zone/spoke-zone-agent/agent/telemetry"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

// newLocation joins the source of the settings to the session. The broker keeps
// the newest location for whoever asks.
func (g *generation) newLocation() (*telemetry.Location, error) {
	c := g.conf.Telemetry
	source, err := telemetry.NewSource(c.LocationSource)
	if err != nil {
		return nil, fmt.Errorf("%w: telemetry.location_source: %w", ErrSettings, err)
	}
	return &telemetry.Location{
		Every: c.LocationInterval, Distance: float64(c.LocationDistance), Source: source, Online: g.mayPublish,
		Publish: func(ctx context.Context, payload []byte) error {
			base, err := g.ownBase()
			if err != nil {
				return err
			}
			return g.session.Publish(ctx, mqtt.Message{Topic: base + "/mon/location", Payload: payload, QoS: 1, Retain: true, Keep: mqtt.KeepNone})
		},
		Log: g.Log.With("task", "location"),
	}, nil
}
