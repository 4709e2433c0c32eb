package mqtt

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// leastPatience is for the last words of a connection that was replaced; more
// where CONNACK took longer.
const leastPatience = 20 * time.Millisecond

// A broker that closes connections before or so soon after they take over, so
// many times in a row, accepts no takeover. Once is no sign: it may have been
// restarted just then.
const (
	oustWindow = time.Second
	oustTimes  = 2
)

// A link is a connection that carries messages.
type link struct {
	conn     *conn
	client   paho.Client
	accepted time.Time       // CONNACK, of the first of those that took over from each other
	taken    time.Time       // CONNACK of this one; zero unless it took over from another
	asked    <-chan struct{} // closed by Reconnect
	slot     chan struct{}   // held while Publish writes, and while another connection is taking over
	over     chan struct{}   // closed when the link is not in force any more
	retired  atomic.Bool     // another connection is taking over, or has

	before   *link         // the connection that this one has replaced, nil if none; deliver ends it
	patience time.Duration // how long its last words are waited for

	// Only the goroutine of the connections touches these.
	stop     chan struct{} // closed to end deliver
	stopped  chan struct{} // closed at its end
	claimed  bool          // slot is held by retire
	replaced bool
}

func newLink(c *conn, client paho.Client, before *link) *link {
	return &link{conn: c, client: client, before: before, slot: make(chan struct{}, 1), over: make(chan struct{})}
}

// start has the link carry what waits.
func (s *Session) start(l *link) {
	l.stop, l.stopped = make(chan struct{}), make(chan struct{})
	stop, stopped := l.stop, l.stopped
	s.workers.Go(func() error {
		defer close(stopped)
		s.deliver(l, stop)
		return nil
	})
}

// halt ends what start began. A write that hangs ends with the connection.
func (l *link) halt() {
	close(l.stop)
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-l.stopped:
	case <-patience.C:
		l.conn.abort(errSilent)
		<-l.stopped
	}
}

// enforce makes l, which the broker has accepted, the link in force.
func (s *Session) enforce(l *link) {
	if old := l.before; old != nil {
		old.replaced = true
		if !old.taken.IsZero() {
			s.ousted = 0
		}
		s.note(func(st *Status) { st.Takeovers++ })
		defer close(old.over)
	}
	if !s.silent.IsZero() {
		gap := time.Since(s.silent)
		s.note(func(st *Status) { st.Gap = gap })
	}
	s.link.Store(l)
	s.start(l)
}

// retire has old carry nothing more, until revive: a CONNECT that replaces it
// is about to be sent.
func (s *Session) retire(old *link) {
	old.retired.Store(true)
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case old.slot <- struct{}{}:
		old.claimed = true
	case <-patience.C: // a write hangs, and will with halt
	}
	old.halt()
	s.silent = time.Now()
}

// revive takes retire back.
func (s *Session) revive(old *link) {
	old.retired.Store(false)
	s.start(old)
	if old.claimed { // else it belongs to the write that hangs
		old.claimed = false
		<-old.slot
	}
}

// shut ends a connection because of err and returns what that means.
func (s *Session) shut(l *link, err error) ending {
	up := time.Since(l.accepted)
	s.link.Store(nil)
	s.silent = time.Now()
	close(l.over)
	l.conn.end(err)
	l.client.Disconnect(quiesce)
	l.halt()
	if l.before != nil {
		l.before.conn.abort(errSuperseded)
	}
	s.oust(l, err)
	e := ended(err, up)
	e.link = l
	return e
}

// oust takes into account that l ended because of err. A broker that accepts a
// takeover and closes the connection at once, twice in a row, refuses it too.
func (s *Session) oust(l *link, err error) {
	switch {
	case l.lasted():
		s.ousted = 0
	case !l.taken.IsZero() && closedByPeer(err):
		if s.ousted++; s.ousted == oustTimes {
			s.giveUpTakeovers(err)
		}
	}
}

// lasted reports whether l has taken over and stood for longer than where that
// is refused.
func (l *link) lasted() bool { return !l.taken.IsZero() && time.Since(l.taken) > oustWindow }

// giveUpTakeovers has each connection end before the next from now on.
func (s *Session) giveUpTakeovers(err error) {
	s.breakFirst = true
	s.log().Warn("the broker accepts no second connection of the client: from now on the first is closed before", "err", err)
	if s.OnBreakFirst != nil {
		s.OnBreakFirst()
	}
}

// replace has another connection with the newest credential take over from old,
// for as long as old lives, and returns the link in force then. If there is
// none it returns the reason. A broker that accepts no other connection beside
// old is remembered: then old is closed first, now and with later credentials.
func (s *Session) replace(ctx context.Context, old *link, a *attempt) (*link, ending) {
	if old.lasted() {
		s.ousted = 0
	}
	var r retries
	next, superseded := a.begun.Add(minGap), (<-chan struct{})(nil)
	for {
		if err := s.holdUntil(ctx, old, superseded, &r, a.begun.Add(minGap), next); err != nil {
			return nil, s.shut(old, err)
		}
		cred, newer, err := s.Credential(ctx)
		*a = attempt{cred, newer, time.Now()}
		superseded = newer
		l, e := (*link)(nil), ending{cause: CauseCredential, err: err}
		if err == nil {
			s.optionalOff = false // what the broker thinks of them may have changed with the credential
			l, e = s.open(ctx, a, old)
		}
		switch {
		case l != nil:
			s.note(func(st *Status) { st.Held = "" })
			return l, ending{}
		case old.replaced:
			return nil, e // of the new connection
		case ctx.Err() != nil:
			return nil, s.shut(old, ctx.Err())
		}
		wait := r.after(e, s.draw())
		if s.refusesTakeover(e) {
			s.giveUpTakeovers(e.err)
			return nil, s.shut(old, errSuperseded)
		}
		if next = time.Now().Add(wait); e.cause == CauseSuperseded {
			superseded, next = nil, a.begun.Add(minGap)
		} else {
			s.held(e, cred, &r, next)
		}
	}
}

// refusesTakeover tells whether a CONNECT beside a connection of the same client
// ended as at a broker that accepts none. A CONNACK says so; a broker that closes
// the connection, or is silent, has to do so twice with no takeover that lasted
// between. A credential that is refused and a network that fails say nothing.
func (s *Session) refusesTakeover(e ending) bool {
	if e.sent && (closedByPeer(e.err) || errors.Is(e.err, errNoConnack)) {
		s.ousted++
		return s.ousted >= oustTimes
	}
	return e.cause == CauseRejected
}

// closedByPeer reports whether the other end closed the connection.
func closedByPeer(err error) bool {
	for _, cause := range []error{errClosed, syscall.ECONNRESET, syscall.EPIPE, io.ErrClosedPipe} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// holdUntil holds old until next. A newer credential cuts that short, but not to
// before soonest.
func (s *Session) holdUntil(ctx context.Context, old *link, superseded <-chan struct{}, r *retries, soonest, next time.Time) error {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		err := s.hold(ctx, old, superseded, timer.C)
		if !errors.Is(err, errSuperseded) {
			return err
		}
		superseded = nil
		if r.pass() {
			timer.Reset(time.Until(soonest))
		}
	}
}
