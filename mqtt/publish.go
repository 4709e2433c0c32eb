package mqtt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/mqtt/outbox"
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

// Publish sends m, or makes it durable to be sent. At QoS 1 nil means that m is
// in the outbox (KeepAll, KeepLatest) or that the broker has it (KeepNone, and
// any where the Session has no outbox or its disk takes nothing, which may
// overtake what waits); at QoS 0, that it was written to the connection. It may be called from any goroutine,
// OnMessage included, and returns ErrOffline, ErrUnconfirmed, ErrFull,
// ErrTooLarge, ErrTopic, ErrQoS or the error of ctx. What it waits for is the
// disk, or a connection: then at most Session.Timeout for its turn, a second
// more for a full socket, which ctx does not cut short, and again for the PUBACK.
func (s *Session) Publish(ctx context.Context, m Message) error {
	if err := s.check(m); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.QoS == 0 || m.Keep == KeepNone || s.Outbox == nil {
		return s.publish(ctx, m)
	}
	err := s.Outbox.Put(outbox.Message{Topic: m.Topic, Payload: m.Payload, Retain: m.Retain, Latest: m.Keep == KeepLatest})
	switch {
	case errors.Is(err, outbox.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case err != nil: // without the disk only the broker can take it over from the caller
		if perr := s.publish(ctx, m); perr != nil {
			return fmt.Errorf("%w, and %w", perr, err)
		}
	}
	return nil
}

// publish sends m on the connection there is.
func (s *Session) publish(ctx context.Context, m Message) error {
	patience := time.NewTimer(s.timeout())
	defer patience.Stop()
	l, err := s.turn(ctx, patience.C)
	if err != nil {
		return err
	}
	if m.QoS == 0 {
		_, err := l.conn.Write(appendPublish(nil, m, 0))
		<-l.slot
		if err != nil {
			return fmt.Errorf("%w: %w", ErrOffline, err)
		}
		return nil
	}
	f := s.window.add(l, m, nil)
	if f == nil {
		<-l.slot
		return ErrFull
	}
	_, _ = l.conn.Write(s.window.write(f)) // one that fails ends the connection
	<-l.slot
	patience.Reset(s.timeout())
	return s.confirm(ctx, l, f, patience.C)
}

// turn takes the slot of the link in force.
func (s *Session) turn(ctx context.Context, patience <-chan time.Time) (*link, error) {
	for {
		l := s.link.Load()
		if l == nil {
			return nil, ErrOffline
		}
		select {
		case l.slot <- struct{}{}:
			return l, nil
		case <-l.over: // perhaps for the next
		case <-patience:
			return nil, fmt.Errorf("%w: no turn to send within %v", ErrOffline, s.timeout())
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// confirm waits for the PUBACK of a message that is in memory alone. A
// connection that gives way to the next is no reason to end that.
func (s *Session) confirm(ctx context.Context, l *link, f *flight, patience <-chan time.Time) error {
	var err error
	ended := l.conn.done
	for err == nil {
		select {
		case <-f.done:
			return nil
		case <-ended:
			select {
			case <-f.done: // both at once: the broker's word counts
				return nil
			default:
			}
			if ended = nil; !l.retired.Load() {
				err = l.conn.cause()
			}
		case <-ctx.Done():
			err = ctx.Err()
		case <-patience:
			err = fmt.Errorf("no answer within %v", s.timeout())
		}
	}
	return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
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
