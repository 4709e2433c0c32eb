package mqtt

import (
	"fmt"
	"time"
)

const (
	// burst is how many bytes are written at once.
	burst = 16 << 10

	// settleEvery bounds what a kill can have sent twice: PUBACKs are written
	// down at most so much later, without a sync.
	settleEvery = 20 * time.Millisecond

	// outboxRetry is when an outbox that could not be opened is tried again.
	outboxRetry = 10 * time.Second

	// patiences is how many times Session.Timeout the broker may take for the
	// next PUBACK before the connection counts as dead.
	patiences = 3
)

// deliver sends what is on its way and what waits, until the connection ends or
// stop is closed. It is the only reader of the outbox.
func (s *Session) deliver(l *link, stop <-chan struct{}) {
	s.await(l, stop)
	quiet := s.window.careful() // whether nothing is sent, to see what the broker does then
	trust := time.NewTimer(kickWindow + kickWindow/10)
	defer trust.Stop()
	settle := time.NewTimer(time.Hour)
	settle.Stop()
	defer settle.Stop()
	stall := time.NewTimer(patiences * s.timeout())
	defer stall.Stop()
	var waiting, settling bool // for a PUBACK; for the settle timer
	var ready <-chan struct{}
	if s.Outbox != nil {
		ready = s.Outbox.Ready()
	}
	for {
		select {
		case <-l.conn.done:
			return
		case <-stop:
			return
		default:
		}
		held, lifted := s.onHold()
		var retry time.Duration
		if !quiet {
			var sent bool
			if sent, retry = s.refill(l, held); sent {
				continue
			}
		}
		if n := s.window.len(); n > 0 && !waiting {
			stall.Reset(patiences * s.timeout())
			waiting = true
		}
		var again <-chan time.Time
		if retry > 0 {
			again = time.After(retry)
		}
		select {
		case <-l.conn.done:
			return
		case <-stop:
			return
		case <-ready:
		case <-lifted:
		case <-again:
		case <-s.window.freed:
			waiting = false
			if !settling && s.Outbox != nil {
				settle.Reset(settleEvery)
				settling = true
			}
		case <-settle.C:
			settling = false
			s.Outbox.Settle()
		case <-trust.C:
			if quiet {
				quiet = false
				trust.Reset(kickWindow + kickWindow/10)
				break
			}
			s.window.trust()
		case <-stall.C:
			if waiting = s.window.len() > 0 && waiting; waiting {
				l.conn.abort(fmt.Errorf("%w: no PUBACK within %v", errSilent, patiences*s.timeout()))
				return
			}
		}
	}
}

// await gives the connection that this one has replaced the chance to hand on
// the PUBACKs under way, if there are any to come.
func (s *Session) await(l *link, stop <-chan struct{}) {
	if l.before == nil {
		return
	}
	defer func() {
		l.before.conn.abort(errSuperseded)
		l.before = nil
	}()
	patience := time.NewTimer(l.patience)
	defer patience.Stop()
	for s.window.len() > 0 {
		select {
		case <-l.before.conn.done:
			return
		case <-s.window.freed:
		case <-patience.C:
			return
		case <-l.conn.done:
			return
		case <-stop:
			return
		}
	}
}

// onHold asks Hold. lifted is nil unless it holds.
func (s *Session) onHold() (held bool, lifted <-chan struct{}) {
	if s.Hold == nil {
		return false, nil
	}
	if held, lifted = s.Hold(); !held {
		lifted = nil
	}
	return held, lifted
}

// refill sends what waits and fits, and reports whether that was anything. Of
// the outbox it takes nothing while that is held. retry is when to try again
// where the outbox could not be read.
func (s *Session) refill(l *link, held bool) (sent bool, retry time.Duration) {
	if flights := s.window.unsent(l); len(flights) > 0 {
		s.write(l, flights)
		return true, 0
	}
	if s.Outbox == nil || held {
		return false, 0
	}
	n, bytes := s.window.room()
	if n <= 0 || bytes <= 0 {
		return false, 0
	}
	entries, err := s.Outbox.Next(n, bytes)
	if err != nil {
		return false, outboxRetry
	}
	flights := make([]*flight, len(entries))
	for i, e := range entries {
		flights[i] = s.window.add(l, Message{Topic: e.Topic, Payload: e.Payload, QoS: 1, Retain: e.Retain}, e)
		e.Payload = nil // it is in the packet now
	}
	s.write(l, flights)
	return len(flights) > 0, 0
}

// write sends flights in few writes. One that fails ends the connection.
func (s *Session) write(l *link, flights []*flight) {
	var buf []byte
	for i, f := range flights {
		buf = append(buf, s.window.write(f)...)
		if len(buf) >= burst || i == len(flights)-1 {
			if _, err := l.conn.Write(buf); err != nil {
				return
			}
			buf = buf[:0]
		}
	}
}
