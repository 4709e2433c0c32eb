package mqtt

import (
	"context"
	"sync/atomic"

	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	maxQueued      = 128     // messages; more than the window of a usual broker
	maxQueuedBytes = 1 << 20 // of payload, if there is more than one
)

// An inbox is the bounded queue between the library, which must never be made
// to wait in a handler (it would stop reading acknowledgements), and OnMessage,
// which may take its time and may call Publish.
type inbox struct {
	queue chan arrived
	bytes atomic.Int64
}

// arrived is a message and what acknowledges it.
type arrived struct {
	Message
	ack func()
}

func newInbox() *inbox { return &inbox{queue: make(chan arrived, maxQueued)} }

// put queues m in the order of the calls, or reports that there is no room.
func (b *inbox) put(m arrived) bool {
	n := int64(len(m.Payload))
	if all := b.bytes.Add(n); all > maxQueuedBytes && all != n {
		b.bytes.Add(-n)
		return false
	}
	select {
	case b.queue <- m:
		return true
	default:
		b.bytes.Add(-n)
		return false
	}
}

// take hands every queued message to handle, in order, until ctx is done and
// the queue is empty. A message is acknowledged before it is handled: one
// whose handling restarts the gateway must not come again afterwards.
func (b *inbox) take(ctx context.Context, handle func(Message)) {
	for {
		select {
		case m := <-b.queue:
			b.give(m, handle)
			continue
		default:
		}
		select {
		case m := <-b.queue:
			b.give(m, handle)
		case <-ctx.Done():
			return
		}
	}
}

func (b *inbox) give(m arrived, handle func(Message)) {
	b.bytes.Add(-int64(len(m.Payload)))
	m.ack()
	handle(m.Message)
}

// receive is the library's handler. It runs in the order of arrival because
// the library is told that order matters; told otherwise it starts a goroutine
// for each message and the order is lost. It never waits. on numbers the
// connection.
func (s *Session) receive(on uint64, m paho.Message) {
	if s.OnMessage == nil {
		m.Ack()
		return
	}
	if err := checkTopic(m.Topic()); err != nil {
		m.Ack()
		s.drop("message of the broker dropped", "err", err)
		return
	}
	msg := Message{Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retain: m.Retained()}
	put := func() bool { return s.inbox.put(arrived{msg, m.Ack}) }
	known, queued := false, false
	if msg.QoS > 0 {
		known, queued = s.recent.once(on, m.MessageID(), m.Duplicate(), msg, put)
	} else {
		queued = put()
	}
	if known {
		m.Ack()
		return
	}
	if !queued {
		s.drop("message of the broker dropped: queue is full", "topic", clip(msg.Topic), "bytes", len(msg.Payload))
		return
	}
	s.dropping.Store(false)
}

// tooLarge counts a message that was left out for its size.
func (s *Session) tooLarge(topic string, bytes int) {
	s.dropped.Add(1)
	s.log().Warn("message of the broker dropped: larger than the limit", "topic", clip(topic), "bytes", bytes)
}

// drop counts a dropped message and logs the first of a row.
func (s *Session) drop(msg string, args ...any) {
	s.dropped.Add(1)
	if s.dropping.CompareAndSwap(false, true) {
		s.log().Warn(msg, args...)
	}
}

// clip bounds a topic for a log line.
func clip(topic string) string {
	const most = 100
	if len(topic) <= most {
		return topic
	}
	return topic[:most] + "…"
}
