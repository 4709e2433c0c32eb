package cloudtest

import (
	"bytes"
	"sync"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// maxUnacked bounds what a session keeps for a client that is away or slow.
const maxUnacked = 1000

// A session outlives its connections unless it is clean. The peer's mutex
// guards it.
type session struct {
	clean   bool
	filters map[string]byte          // with their QoS
	unacked []*packets.PublishPacket // QoS 1, oldest first
	nextID  uint16
	out     *outbox // of the connection in force; nil when offline
}

// An outbox is what is to be written to one connection, so that routing never
// waits for a slow client.
type outbox struct {
	link  *Link
	ready chan struct{} // holds one element while there is something to write

	mu     sync.Mutex
	queue  []packets.ControlPacket
	closed bool
}

func (o *outbox) put(p packets.ControlPacket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if len(o.queue) > 2*maxUnacked {
		o.link.Close()
		return
	}
	o.queue = append(o.queue, p)
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.ready)
	}
}

// run writes until the outbox is closed or the connection ends.
func (o *outbox) run() error {
	for range o.ready {
		o.mu.Lock()
		queue := o.queue
		o.queue = nil
		o.mu.Unlock()
		for _, p := range queue {
			var b bytes.Buffer
			if err := p.Write(&b); err != nil {
				return err
			}
			if _, err := o.link.Write(b.Bytes()); err != nil {
				o.link.Close()
				return err
			}
		}
	}
	return nil
}

// deliver queues a message for a session. The caller holds the peer's mutex.
func (s *session) deliver(m Message, qos byte) {
	packet := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	packet.TopicName, packet.Payload, packet.Retain = m.Topic, m.Payload, m.Retain
	packet.Qos = min(m.QoS, qos)
	if packet.Qos == 1 {
		if len(s.unacked) >= maxUnacked {
			s.unacked = s.unacked[1:]
		}
		if s.nextID++; s.nextID == 0 {
			s.nextID = 1
		}
		packet.MessageID = s.nextID
		s.unacked = append(s.unacked, packet)
	}
	if s.out != nil {
		s.out.put(packet)
	}
}
