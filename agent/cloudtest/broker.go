package cloudtest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A Broker keeps MQTT 3.1.1 sessions. It speaks the protocol and routes
// messages; who may connect, and to which topics, the Cloud has decided or
// decides when a Link asks it.
type Broker interface {
	// Serve speaks on link, from CONNACK on, until the connection ends.
	Serve(link *Link)
	// Publish sends a message to every session with a matching subscription,
	// and keeps it for later ones if it is retained.
	Publish(m Message) error
	// Subscriptions returns the filters of a client's session.
	Subscriptions(clientID string) []string
	// Close ends the Broker once every Serve has returned.
	Close()
}

// A Verdict is what a Broker does with a topic.
type Verdict int

// The verdicts.
const (
	Granted Verdict = iota
	Ignored         // acknowledge it, but deliver nothing
	Refused         // SUBACK 0x80
	Closed          // close the connection
)

// A Gate decides about the topics of one connection.
type Gate interface {
	Subscribe(filter string) Verdict
	Publish(m Message) Verdict
}

// Subscribe decides about one filter of a SUBSCRIBE.
func (l *Link) Subscribe(filter string) Verdict {
	if l.gate != nil {
		return l.gate.Subscribe(filter)
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	e := Event{Kind: EventSubscribe, Device: l.device.ID, Topic: filter}
	verdict := Granted
	if _, ok := l.c.faults.Roll(RefuseFilters, ""); ok {
		e.Why, verdict = string(RefuseFilters), Refused
	} else if l.under(filter) == "" {
		e.Kind, e.Why = EventForbidden, "subscribe"
		verdict = l.c.forbidden(Refused)
	}
	l.c.note(e)
	return verdict
}

// Publish decides about one message of the device.
func (l *Link) Publish(m Message) Verdict {
	if l.gate != nil {
		return l.gate.Publish(m)
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	name := l.under(m.Topic)
	e := Event{Kind: EventPublish, Device: l.device.ID, Topic: m.Topic, Size: int64(len(m.Payload)), Text: preview(m.Payload)}
	if name == "" || strings.ContainsAny(m.Topic, "+#") {
		e.Kind, e.Why = EventForbidden, "publish"
		l.c.note(e)
		return l.c.forbidden(Ignored)
	}
	m.At, m.Device = l.c.now(), l.device.ID
	l.c.note(e)
	l.c.messages.Add(m)
	l.c.newest[m.Topic] = m
	l.device.lastOnline = m.At
	l.device.learn(name, m.Payload)
	return Granted
}

func (c *Cloud) forbidden(verdict Verdict) Verdict {
	switch arg, _ := c.faults.Roll(Forbidden, ""); arg {
	case "ignore":
		return Ignored
	case "disconnect":
		return Closed
	}
	return verdict
}

// under returns what follows the device's base in a topic or filter, and
// nothing when it does not lie under the base.
func (l *Link) under(topic string) string {
	for _, base := range append([]string{l.device.Base}, l.device.Further...) {
		if name, ok := strings.CutPrefix(topic, base+"/"); ok {
			return name
		}
	}
	return ""
}

// learn takes from a message what the device's page shows.
func (d *device) learn(name string, payload []byte) {
	switch name {
	case "mon/versions":
		var versions map[string]string
		if json.Unmarshal(payload, &versions) == nil {
			d.versions = versions
		}
	case "mon/location":
		var at struct{ Lat, Lon *float64 }
		if json.Unmarshal(payload, &at) == nil && at.Lat != nil && at.Lon != nil {
			d.lat, d.lon = at.Lat, at.Lon
		}
	}
}

// Publish sends a message from the cloud's side to whoever subscribed to its
// topic.
func (c *Cloud) Publish(m Message) error {
	if err := c.broker.Publish(m); err != nil {
		return fmt.Errorf("publish %s: %w", m.Topic, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(Event{Kind: EventSent, Device: c.owner(m.Topic), Topic: m.Topic, Size: int64(len(m.Payload)), Text: preview(m.Payload)})
	return nil
}

// owner returns the device under whose base a topic is, 0 if there is none.
// The caller holds c.mu.
func (c *Cloud) owner(topic string) int {
	for id, d := range c.devices {
		if (&Link{device: d}).under(topic) != "" {
			return id
		}
	}
	return 0
}

// Command sends a command to a device: BASE/ctrl/NAME with QoS 1.
func (c *Cloud) Command(device int, name string, payload []byte) error {
	c.mu.Lock()
	d := c.devices[device]
	c.mu.Unlock()
	if d == nil {
		return fmt.Errorf("command %s: no device %d", name, device)
	}
	return c.Publish(Message{Topic: d.Base + "/ctrl/" + name, Payload: payload, QoS: 1})
}

// Subscriptions returns the filters of a client's session.
func (c *Cloud) Subscriptions(clientID string) []string { return c.broker.Subscriptions(clientID) }
