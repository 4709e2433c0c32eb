package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

// publish takes a message of a local program over.
func (g *generation) publish(ctx context.Context, p local.Publication) error {
	base, err := g.ownBase()
	if err != nil {
		return err
	}
	topic, err := local.Topic(base, p.Topic)
	if err != nil {
		return local.Errorf(local.Invalid, "%v", err)
	}
	payload, err := p.Bytes()
	if err != nil {
		return local.Errorf(local.Invalid, "%v", err)
	}
	if s, _ := g.diagnostics.State(); s.Quiet() && !p.Waits() {
		return local.Errorf(local.Unavailable, "the cloud has set the level of diagnostics to %s, until %s at most: nothing else is sent, and a message of QoS 0 or of keep none cannot wait",
			s.Level.Level, s.Until.UTC().Format(time.RFC3339))
	}
	m := mqtt.Message{Topic: topic, Payload: payload, QoS: p.Level(), Retain: p.Retain}
	switch p.Keep {
	case local.KeepLatest:
		m.Keep = mqtt.KeepLatest
	case local.KeepNone:
		m.Keep = mqtt.KeepNone
	}
	return publishError(g.session.Publish(ctx, m))
}

// publishError tells the local API whose fault err is.
func publishError(err error) error {
	for _, kind := range []struct {
		cause error
		code  local.Code
	}{
		{mqtt.ErrTopic, local.Invalid}, {mqtt.ErrQoS, local.Invalid}, {mqtt.ErrTooLarge, local.TooLarge},
		{mqtt.ErrFull, local.NoSpace}, {mqtt.ErrOffline, local.Unavailable}, {mqtt.ErrUnconfirmed, local.Unavailable},
	} {
		if errors.Is(err, kind.cause) {
			return local.Errorf(kind.code, "%v", err)
		}
	}
	return err
}

// subscribe says what a local program means by filter. The session's
// subscriptions are the settings': no program can make the agent ask the broker
// for more.
func (g *generation) subscribe(filter string) (string, error) {
	if slices.Contains(g.conf.MQTT.Extra, strings.TrimPrefix(filter, "/")) && strings.HasPrefix(filter, "/") {
		return filter[1:], nil
	}
	base, err := g.ownBase()
	if err != nil {
		return "", err
	}
	full, err := local.Filter(base, filter)
	if err != nil {
		return "", local.Errorf(local.Invalid, "%v", err)
	}
	for _, subscribed := range append([]string{base + "/ctrl/#"}, g.conf.MQTT.Extra...) {
		if local.Meet(full, subscribed) {
			return full, nil
		}
	}
	return "", local.Errorf(local.Invalid, "filter %q: the agent has subscribed to ctrl/# and to mqtt.extra_subscriptions alone, and none of them meets it", filter)
}

// ownBase is the topic base of the device, once it is known.
func (g *generation) ownBase() (string, error) {
	s, _ := g.keeper.Status()
	if base := g.topicBase(s.Token); base != "" {
		return base, nil
	}
	return "", local.Errorf(local.Unavailable, "the topic base is unknown: set [mqtt] topic_base or [identity] device_id")
}
