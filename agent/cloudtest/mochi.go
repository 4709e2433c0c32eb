package cloudtest

import (
	"fmt"
	"log/slog"
	"slices"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// NewMochi returns the Broker for real time: mochi-mqtt, an independent
// implementation. It ticks five times a second, which is why simulated months
// use NewPeer.
func NewMochi() (Broker, error) {
	server := mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler), SysTopicResendInterval: 3600})
	server.Options.Capabilities.MaximumQos = 1
	server.Options.Capabilities.MaximumPacketSize = maxPacket
	m := &mochi{server: server}
	if err := server.AddHook(&mochiHook{}, nil); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	return m, nil
}

type mochi struct{ server *mqtt.Server }

func (m *mochi) Serve(link *Link) {
	link.Replay()
	m.server.EstablishConnection("cloud", link) // its error is how the connection ended
}

func (m *mochi) Publish(msg Message) error {
	return m.server.Publish(msg.Topic, msg.Payload, msg.Retain, msg.QoS)
}

func (m *mochi) Subscriptions(clientID string) []string {
	client, ok := m.server.Clients.Get(clientID)
	if !ok {
		return nil
	}
	var filters []string
	for filter := range client.State.Subscriptions.GetAll() {
		if filter != nowhereFilter {
			filters = append(filters, filter)
		}
	}
	slices.Sort(filters)
	return filters
}

func (m *mochi) Close() { m.server.Close() }

// Filters that stand for others: one that is valid and never matches, and one
// that mochi refuses with 0x80.
const (
	nowhereFilter = "$nowhere"
	invalidFilter = "#/"
)

// mochiHook asks the Link for its verdicts.
type mochiHook struct{ mqtt.HookBase }

func (*mochiHook) ID() string { return "cloud" }

func (*mochiHook) Provides(b byte) bool {
	return slices.Contains([]byte{mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSubscribe, mqtt.OnPublish}, b)
}

// OnConnectAuthenticate grants, for the Cloud has admitted the Link.
func (*mochiHook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck grants: OnSubscribe and OnPublish have decided.
func (*mochiHook) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// OnSubscribe replaces the filters that are not granted.
func (*mochiHook) OnSubscribe(client *mqtt.Client, p packets.Packet) packets.Packet {
	link, ok := client.Net.Conn.(*Link)
	if !ok {
		return p
	}
	p.Filters = slices.Clone(p.Filters)
	for i := range p.Filters {
		switch link.Subscribe(p.Filters[i].Filter) {
		case Ignored:
			p.Filters[i].Filter = nowhereFilter
		case Refused:
			p.Filters[i].Filter = invalidFilter
		case Closed:
			p.Filters[i].Filter = invalidFilter
			host.Cut(link.Conn)
		}
	}
	return p
}

// OnPublish lets granted messages through.
func (*mochiHook) OnPublish(client *mqtt.Client, p packets.Packet) (packets.Packet, error) {
	link, ok := client.Net.Conn.(*Link)
	if !ok {
		return p, nil
	}
	switch link.Publish(Message{Topic: p.TopicName, Payload: p.Payload, QoS: p.FixedHeader.Qos, Retain: p.FixedHeader.Retain}) {
	case Granted:
		return p, nil
	case Closed:
		host.Cut(link.Conn)
	}
	return p, packets.CodeSuccessIgnore
}
