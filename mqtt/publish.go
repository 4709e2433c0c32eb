package mqtt

import (
	"context"
	"fmt"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A Message is one application message. Payload is not copied: leave it alone
// once it is published.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte // 0 or 1
	Retain  bool // inbound: the broker had it before we subscribed
	Keep    Keep // outbound at QoS 1: what happens to it while it cannot be sent
}

// A link is a connection on which Publish works.
type link struct {
	conn   *conn
	client paho.Client
	store  *connStore
	slot   chan struct{} // held while a message is handed to the library
}

// Publish sends m. At QoS 1 nil means that the broker has it; at QoS 0, that it
// was written. It may be called from any goroutine, OnMessage included, and
// returns ErrOffline, ErrUnconfirmed, ErrFull, ErrTooLarge, ErrTopic, ErrQoS or
// the error of ctx. It waits at most Session.Timeout for its turn, a second more
// for a full socket, which ctx does not cut short, and again for the PUBACK.
func (s *Session) Publish(ctx context.Context, m Message) error {
	if err := s.check(m); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l := s.link.Load()
	if l == nil {
		return ErrOffline
	}
	patience := time.NewTimer(s.timeout())
	defer patience.Stop()
	select {
	case l.slot <- struct{}{}:
	case <-l.conn.done:
		return ErrOffline
	case <-patience.C:
		return fmt.Errorf("%w: no turn to send within %v", ErrOffline, s.timeout())
	case <-ctx.Done():
		return ctx.Err()
	}
	if m.QoS > 0 && !s.unacked.room(len(m.Payload)) {
		<-l.slot
		return ErrFull
	}
	token := l.client.Publish(m.Topic, m.QoS, m.Retain, m.Payload)
	<-l.slot
	patience.Reset(s.timeout())
	return s.confirm(ctx, l, token, patience.C)
}

// confirm waits for what the broker says of a message. The library leaves the
// token of a kept message open for ever when its connection ends.
func (s *Session) confirm(ctx context.Context, l *link, token paho.Token, patience <-chan time.Time) error {
	var err error
	select {
	case <-token.Done():
		err = token.Error()
	case <-l.conn.done:
		select {
		case <-token.Done(): // both at once: the broker's word counts
			err = token.Error()
		default:
			err = l.conn.cause()
		}
	case <-ctx.Done():
		err = ctx.Err()
	case <-patience:
		err = fmt.Errorf("no answer within %v", s.timeout())
	}
	put, acked := l.store.settle(token.(*paho.PublishToken).MessageID())
	switch {
	case err == nil || acked:
		return nil
	case put:
		return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	}
	return fmt.Errorf("%w: %w", ErrOffline, err)
}

// check reports why m can never be sent.
func (s *Session) check(m Message) error {
	if m.QoS > 1 {
		return fmt.Errorf("%w: %d (0 or 1)", ErrQoS, m.QoS)
	}
	if err := checkTopic(m.Topic); err != nil {
		return err
	}
	const overhead = 1 + 4 + 2 + 2 // fixed header, length of the topic, packet id
	if n := overhead + len(m.Topic) + len(m.Payload); n > s.maxPacket() {
		return fmt.Errorf("%w: %d bytes (at most %d)", ErrTooLarge, n, s.maxPacket())
	}
	return nil
}
