package cloudtest

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"golang.org/x/sync/errgroup"
)

// NewPeer returns the Broker for simulated time: MQTT 3.1.1 with QoS 0 and 1,
// retained messages and persistent sessions, in which no timer runs and no
// goroutine wakes while its clients are quiet. It sends no last wills, for
// Spoke Zone knows no topic for one.
func NewPeer() Broker {
	return &peer{sessions: map[string]*session{}, retained: map[string]Message{}}
}

type peer struct {
	mu       sync.Mutex
	sessions map[string]*session
	retained map[string]Message
}

func (p *peer) Serve(link *Link) {
	out := &outbox{link: link, ready: make(chan struct{}, 1)}
	s := p.attach(link, out)
	var writer errgroup.Group
	writer.Go(out.run)
	p.read(link, s, out) // its error is how the connection ended
	p.detach(link, s, out)
	link.Close()
	writer.Wait()
}

// attach finds or makes the session, takes it from an older connection of the
// same client, and queues CONNACK and what the client has not acknowledged.
func (p *peer) attach(link *Link, out *outbox) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := link.ClientID()
	s := p.sessions[id]
	if s != nil && s.out != nil {
		s.out.link.Close()
		s.out.close()
		s.out = nil
	}
	present := s != nil && !s.clean && !link.Connect.CleanSession
	if !present {
		s = &session{clean: link.Connect.CleanSession, filters: map[string]byte{}}
		p.sessions[id] = s
	}
	s.out = out
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	ack.SessionPresent = present
	out.put(ack)
	for _, m := range s.unacked {
		again := *m
		again.Dup = true
		out.put(&again)
	}
	return s
}

func (p *peer) detach(link *Link, s *session, out *outbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out.close()
	if s.out != out {
		return // taken over
	}
	s.out = nil
	if s.clean {
		delete(p.sessions, link.ClientID())
	}
}

// read handles packets until DISCONNECT, which is no error, or until the
// connection ends or breaks a rule, which is one.
func (p *peer) read(link *Link, s *session, out *outbox) error {
	r := bufio.NewReader(link)
	for {
		if k := link.Connect.Keepalive; k > 0 {
			link.SetReadDeadline(time.Now().Add(time.Duration(k) * 1500 * time.Millisecond))
		}
		packet, err := readPacket(r)
		if err != nil {
			return err
		}
		if done, err := p.handle(link, s, out, packet); done || err != nil {
			return err
		}
	}
}

// readPacket is packets.ReadPacket with a bound.
func readPacket(r *bufio.Reader) (packets.ControlPacket, error) {
	length := 0
	for i := 1; i <= 4; i++ {
		head, err := r.Peek(i + 1)
		if err != nil {
			return nil, err
		}
		length |= int(head[i]&0x7f) << (7 * (i - 1))
		if head[i]&0x80 == 0 {
			if length > maxPacket {
				return nil, fmt.Errorf("packet of %d bytes", length)
			}
			return packets.ReadPacket(r)
		}
	}
	return nil, fmt.Errorf("malformed length")
}

func (p *peer) handle(link *Link, s *session, out *outbox, packet packets.ControlPacket) (done bool, err error) {
	switch packet := packet.(type) {
	case *packets.PingreqPacket:
		out.put(packets.NewControlPacket(packets.Pingresp))
	case *packets.PublishPacket:
		if packet.Qos > 1 {
			return false, fmt.Errorf("publish with QoS %d", packet.Qos)
		}
		m := Message{Topic: packet.TopicName, Payload: packet.Payload, QoS: packet.Qos, Retain: packet.Retain}
		if p.receive(link, m) == Closed {
			return false, fmt.Errorf("publish to %q is forbidden", m.Topic)
		}
		if packet.Qos == 1 {
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = packet.MessageID
			out.put(ack)
		}
	case *packets.PubackPacket:
		p.mu.Lock()
		s.unacked = slices.DeleteFunc(s.unacked, func(m *packets.PublishPacket) bool { return m.MessageID == packet.MessageID })
		p.mu.Unlock()
	case *packets.SubscribePacket:
		return false, p.subscribe(link, s, out, packet)
	case *packets.UnsubscribePacket:
		p.mu.Lock()
		for _, filter := range packet.Topics {
			delete(s.filters, filter)
		}
		p.mu.Unlock()
		ack := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
		ack.MessageID = packet.MessageID
		out.put(ack)
	case *packets.DisconnectPacket:
		return true, nil
	default:
		return false, fmt.Errorf("unexpected %T", packet)
	}
	return false, nil
}

// receive routes a message of the client's if the Cloud grants it.
func (p *peer) receive(link *Link, m Message) Verdict {
	verdict := link.Publish(m)
	if verdict == Granted {
		p.Publish(m)
	}
	return verdict
}

func (p *peer) subscribe(link *Link, s *session, out *outbox, packet *packets.SubscribePacket) error {
	if len(packet.Topics) == 0 {
		return fmt.Errorf("subscribe without a filter")
	}
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID = packet.MessageID
	granted := map[string]byte{}
	for i, filter := range packet.Topics {
		qos := min(packet.Qoss[i], 1)
		switch verdict := link.Subscribe(filter); {
		case verdict == Closed:
			return fmt.Errorf("subscribe to %q is forbidden", filter)
		case verdict == Refused || !validFilter(filter):
			qos = 0x80
		case verdict == Granted:
			granted[filter] = qos
		}
		ack.ReturnCodes = append(ack.ReturnCodes, qos)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out.put(ack)
	maps.Copy(s.filters, granted)
	for _, topic := range slices.Sorted(maps.Keys(p.retained)) {
		for filter, qos := range granted {
			if m := p.retained[topic]; matches(filter, topic) {
				m.Retain = true
				s.deliver(m, qos)
			}
		}
	}
	return nil
}

// Publish is the Broker's.
func (p *peer) Publish(m Message) error {
	if m.Topic == "" || strings.ContainsAny(m.Topic, "+#\x00") || len(m.Topic) > 65535 {
		return fmt.Errorf("%q is no topic", m.Topic)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case m.Retain && len(m.Payload) == 0:
		delete(p.retained, m.Topic)
	case m.Retain:
		p.retained[m.Topic] = m
	}
	m.Retain = false // it is not, to those who were there
	for _, s := range p.sessions {
		best, any := byte(0), false
		for filter, qos := range s.filters {
			if matches(filter, m.Topic) {
				best, any = max(best, qos), true
			}
		}
		if any {
			s.deliver(m, best)
		}
	}
	return nil
}

func (p *peer) Subscriptions(clientID string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sessions[clientID]; s != nil {
		return slices.Sorted(maps.Keys(s.filters))
	}
	return nil
}

func (p *peer) Close() {}
