// Package mqtt keeps one session with the broker open, presenting whatever
// credential is current at each CONNECT.
package mqtt

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
	"github.com/spoke-zone/spoke-zone-agent/mqtt/outbox"
)

// What a Session does where its fields say nothing.
const (
	DefaultKeepAlive = 20 * time.Second
	DefaultTimeout   = 20 * time.Second
	DefaultMaxPacket = 256 << 10
)

// A Session is a connection to the broker that outlives any one TCP
// connection. Set its fields before Run and leave them alone then; only Dial
// and Credential are needed.
type Session struct {
	// Dial opens the network connection, TLS included: Dialer.Dial.
	Dial func(context.Context) (net.Conn, error)

	// Credential returns what to present now and a channel that is closed when
	// it is superseded. It may wait until there is one.
	Credential func(context.Context) (Credential, <-chan struct{}, error)

	Broker     string        // how Status and the log name the broker
	BreakFirst bool          // end each connection before the next begins, as at a broker that refuses takeovers
	Clean      bool          // ask for a clean session instead of a persistent one
	KeepAlive  time.Duration // DefaultKeepAlive if 0, none if negative
	Timeout    time.Duration // of dialling, of each answer and of each write; DefaultTimeout if 0
	MaxPacket  int           // bytes of a packet, either way; DefaultMaxPacket if 0

	// Outbox keeps messages of QoS 1 until the broker has them. If nil, the
	// session keeps those that were sent, in memory. Run closes it.
	Outbox *outbox.Outbox

	Rand func() float64 // draws the jitter from [0, 1); rand.Float64 if nil

	// OnAccepted and OnRefused say what the broker thinks of a credential. They
	// are called from Run, which waits for them.
	OnAccepted func(Credential)
	OnRefused  func(Credential, error)

	// OnBreakFirst is told that the broker accepts no takeover: BreakFirst is what
	// the next Session for it should have. It is called from Run; may be nil.
	OnBreakFirst func()

	// Hold reports whether what is in the outbox has to wait there although there
	// is a connection, and a channel that is closed when that changes. What has
	// been sent before, and KeepNone, is not concerned. May be nil.
	Hold func() (held bool, changed <-chan struct{})

	// OnMessage gets the messages of the subscriptions, in order and one at a
	// time. It may take its time and may call Publish; the connection does not
	// wait for it, but the queue before it is bounded.
	OnMessage func(Message)

	// Alive is told that the loop of the connections turns, and within what time
	// it will say so again; 0 means that it may rightly wait for ever. May be nil.
	Alive func(within time.Duration)

	Log *slog.Logger // none if nil

	status   latest.Value[Status]
	nudge    latest.Value[struct{}] // set by Reconnect
	link     atomic.Pointer[link]   // nil unless online
	window   window
	recent   recent
	made     atomic.Uint64 // connections
	dropped  atomic.Int64
	dropping atomic.Bool // whether the last message was dropped

	// Only Run touches these.
	workers     errgroup.Group
	inbox       *inbox
	told        map[string]bool // filters whose refusal has been logged
	silent      time.Time       // when the last connection stopped carrying messages; zero before the first
	breakFirst  bool            // the broker accepts no connection beside one of the same client
	ousted      int             // takeovers in a row that the broker ended before or soon after CONNACK
	optionalOff bool            // leave optional filters out: the broker kicked us with them
}

// Run keeps the session connected until ctx is done and then returns nil.
// Messages already queued are still handed to OnMessage. A Session runs once.
func (s *Session) Run(ctx context.Context) error {
	s.inbox, s.told = newInbox(), make(map[string]bool)
	s.breakFirst = s.BreakFirst
	s.window.freed, s.window.land = make(chan struct{}, 1), s.land
	if s.Outbox != nil {
		_ = s.Outbox.Open() // its Status tells why, and what waits before the first connection
	}
	disconnected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	s.workers.Go(func() error {
		defer disconnect()
		s.stayConnected(ctx)
		return nil
	})
	s.inbox.take(disconnected, s.OnMessage)
	err := s.workers.Wait()
	if s.Outbox != nil {
		if cerr := s.Outbox.Close(); cerr != nil {
			s.log().Warn("outbox not closed in order", "err", cerr)
		}
	}
	return err
}

// land is told of each message of the outbox that is done with.
func (s *Session) land(e *outbox.Entry, givenUp bool) {
	if givenUp {
		s.Outbox.Drop(e)
		return
	}
	s.Outbox.Ack(e)
}

// Reconnect makes the session end its connection, or its wait, and connect
// again now: the network has changed, or a person asks for it. While an attempt
// is under way it does nothing.
func (s *Session) Reconnect() { s.nudge.Set(struct{}{}) }

// stayConnected makes one connection after the other.
func (s *Session) stayConnected(ctx context.Context) {
	var r retries
	for ctx.Err() == nil {
		s.feed(0)
		cred, superseded, err := s.Credential(ctx)
		a := attempt{cred, superseded, time.Now()}
		e := ending{cause: CauseCredential, err: err}
		if err == nil {
			e = s.serve(ctx, &a)
		}
		if ctx.Err() != nil {
			break
		}
		e = r.judge(e, a.cred.ClientID)
		wait := r.after(e, s.draw())
		soonest, next := a.begun.Add(minGap), time.Now().Add(wait)
		if next.Before(soonest) {
			next = soonest
		}
		s.conclude(e, a.cred, &r, next)
		if e.cause == CauseSuperseded {
			a.superseded = nil // it has had its effect
		}
		s.feed(time.Until(next))
		s.pause(ctx, &r, a.superseded, soonest, next)
	}
	s.note(func(st *Status) {
		if st.State == Online {
			st.OfflineAt = time.Now()
		}
		st.State, st.NextTry = Offline, time.Time{}
	})
}

// pause waits until next. A newer credential or Reconnect cuts it short, but not
// to before soonest.
func (s *Session) pause(ctx context.Context, r *retries, superseded <-chan struct{}, soonest, next time.Time) {
	_, _, asked := s.nudge.Get()
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-superseded:
			superseded = nil
			if r.pass() {
				timer.Reset(time.Until(soonest))
			}
		case <-asked:
			asked = nil
			timer.Reset(time.Until(soonest))
		}
	}
}

// feed tells Alive that the loop turns, and does again within that time and a
// minute for a busy machine.
func (s *Session) feed(within time.Duration) {
	switch {
	case s.Alive == nil:
	case within <= 0:
		s.Alive(0)
	default:
		s.Alive(within + time.Minute)
	}
}

func (s *Session) keepAlive() time.Duration { return cmp.Or(s.KeepAlive, DefaultKeepAlive) }
func (s *Session) timeout() time.Duration   { return cmp.Or(s.Timeout, DefaultTimeout) }
func (s *Session) maxPacket() int           { return cmp.Or(s.MaxPacket, DefaultMaxPacket) }

func (s *Session) draw() float64 {
	if s.Rand == nil {
		return rand.Float64()
	}
	return s.Rand()
}

func (s *Session) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}
