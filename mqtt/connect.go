package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	// answerTimeout is how long the answer to a PINGREQ may take at most.
	answerTimeout = 10 * time.Second

	// quiesce is how long DISCONNECT may take, in milliseconds. With 0 the
	// library returns before DISCONNECT is written, and the broker publishes a
	// will.
	quiesce = 250
)

// An attempt is one CONNECT.
type attempt struct {
	cred       Credential
	superseded <-chan struct{}
	begun      time.Time
}

// serve makes a connection, has it give way to the next whenever the credential
// is superseded, and returns how the last one ended.
func (s *Session) serve(ctx context.Context, a *attempt) ending {
	l, e := s.open(ctx, a, nil)
	for l != nil {
		err := s.hold(ctx, l, a.superseded, nil)
		if !errors.Is(err, errSuperseded) || s.breakFirst {
			return s.shut(l, err)
		}
		l, e = s.replace(ctx, l, a)
	}
	return e
}

func (s *Session) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	return s.Dial(ctx)
}

// open makes a connection that can be used, or returns how that ended. If old
// is not nil, the broker ends old at the CONNECT of the new one, which has the
// same client id (MQTT 3.1.1, section 3.1.4); until then old is in use, and
// again if the broker does not.
func (s *Session) open(ctx context.Context, a *attempt, old *link) (*link, ending) {
	if err := a.cred.check(s.Clean); err != nil {
		return nil, ending{cause: CauseCredential, err: err}
	}
	if old == nil {
		s.note(func(st *Status) { st.State, st.NextTry = Connecting, time.Time{} })
	}
	s.feed(3 * s.timeout()) // to dial, for CONNACK, for SUBACK
	nc, err := s.dial(ctx)
	if err != nil {
		return nil, ending{cause: CauseNetwork, err: err}
	}
	_, _, asked := s.nudge.Get()
	filters := s.usable(a.cred.Filters)
	c := newConn(nc, limits{
		keepAlive: s.keepAlive(), answer: min(answerTimeout, max(s.keepAlive(), time.Second)),
		write: s.timeout(), packet: s.maxPacket(), filters: len(filters), clean: s.Clean,
		skipped: s.tooLarge, acked: s.window.ack,
	})
	l := newLink(c, paho.NewClient(s.options(c, a.cred)), old)
	l.asked = asked
	if old != nil {
		s.retire(old)
	}
	begun := time.Now()
	present, err := connect(ctx, c, l.client, a.superseded)
	if err != nil {
		e := endedConnect(err, c.cause())
		e.sent = true
		c.abort(net.ErrClosed)
		if old != nil {
			s.revive(old)
		}
		return nil, e
	}
	l.accepted, l.patience = time.Now(), max(time.Since(begun), leastPatience)
	if old != nil {
		l.taken, l.accepted = l.accepted, old.accepted
	}
	c.keep()
	s.enforce(l)
	s.accepted(a.cred, present)
	refused, err := s.subscribe(ctx, c, l.client, filters, a.superseded)
	if err != nil {
		return nil, s.shut(l, err)
	}
	s.online(a.cred, filters, refused)
	return l, ending{}
}

// hold waits for the end of a connection and returns its reason, or nil if wake
// comes first.
func (s *Session) hold(ctx context.Context, l *link, superseded <-chan struct{}, wake <-chan time.Time) error {
	for {
		s.feed(2*s.keepAlive() + s.timeout())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-superseded:
			return errSuperseded
		case <-l.asked:
			return errAsked
		case <-l.conn.done:
			return l.conn.cause()
		case <-wake:
			return nil
		case <-l.conn.beat: // the watchdog wants to know that this loop turns
		}
	}
}

// connect sends CONNECT and waits for CONNACK.
func connect(ctx context.Context, c *conn, client paho.Client, superseded <-chan struct{}) (present bool, err error) {
	token := client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		c.abort(ctx.Err())
	case <-superseded:
		c.abort(errSuperseded)
	}
	<-token.Done() // soon: nothing of the library waits on an ended connection
	if err := token.Error(); err != nil {
		return false, err
	}
	return token.(*paho.ConnectToken).SessionPresent(), nil
}

// options are those of one client of the library for one connection. What it
// could do by itself (connect again, fall back to MQTT 3.1, ping, subscribe
// again) is off.
func (s *Session) options(c net.Conn, cred Credential) *paho.ClientOptions {
	on := s.made.Add(1)
	return paho.NewClientOptions().
		AddBroker("tcp://broker"). // never dialled
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return c, nil }).
		SetClientID(cred.ClientID).
		SetUsername(cred.Username).
		SetPassword(cred.Password).
		SetProtocolVersion(4).
		SetCleanSession(false). // conn says what we want
		SetKeepAlive(0).        // conn does it
		SetConnectTimeout(s.timeout()).
		SetWriteTimeout(s.timeout() + time.Second). // after the limit of conn, so that no message waits for the next connection
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetResumeSubs(false).
		SetOrderMatters(true). // see receive
		SetAutoAckDisabled(true).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { s.receive(on, m) })
}

// subscribe sends the filters and returns those that the broker refused.
func (s *Session) subscribe(ctx context.Context, c *conn, client paho.Client, filters []Filter, superseded <-chan struct{}) ([]Filter, error) {
	if len(filters) == 0 {
		return nil, nil
	}
	ask := make(map[string]byte, len(filters))
	for _, f := range filters {
		ask[f.Topic] = f.QoS
	}
	answered := make(chan paho.Token, 1)
	s.workers.Go(func() error { // the library does not notice for long that nobody takes a packet any more
		t := client.SubscribeMultiple(ask, nil)
		select {
		case <-t.Done():
		case <-c.done:
		}
		answered <- t
		return nil
	})
	patience := time.NewTimer(s.timeout())
	defer patience.Stop()
	var token paho.Token
	select {
	case token = <-answered:
	case <-c.done:
		return nil, c.cause()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-superseded:
		return nil, errSuperseded
	case <-patience.C:
		return nil, fmt.Errorf("%w: no SUBACK within %v", errSilent, s.timeout())
	}
	if cause := c.cause(); cause != nil {
		return nil, cause
	}
	if err := token.Error(); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	codes := token.(*paho.SubscribeToken).Result()
	var refused []Filter
	for _, f := range filters {
		if code, ok := codes[f.Topic]; !ok || code > 2 {
			refused = append(refused, f)
		}
	}
	return refused, nil
}
