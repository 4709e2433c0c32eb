package mqtt

import (
	"context"
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

// serve makes one connection and returns how it ended.
func (s *Session) serve(ctx context.Context, cred Credential, superseded <-chan struct{}) ending {
	if err := cred.check(s.Clean); err != nil {
		return ending{cause: CauseCredential, err: err}
	}
	s.note(func(st *Status) { st.State, st.NextTry = Connecting, time.Time{} })
	nc, err := s.dial(ctx)
	if err != nil {
		return ending{cause: CauseNetwork, err: err}
	}
	return s.converse(ctx, nc, cred, superseded)
}

func (s *Session) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	return s.Dial(ctx)
}

// converse speaks MQTT on a fresh network connection until that ends, ctx is
// done, the credential is superseded or Reconnect is called. To rotate without
// a gap, whoever calls it would dial the next connection while this one lives.
func (s *Session) converse(ctx context.Context, nc net.Conn, cred Credential, superseded <-chan struct{}) ending {
	_, _, asked := s.nudge.Get()
	filters := s.usable(cred.Filters)
	c := newConn(nc, limits{
		keepAlive: s.keepAlive(), answer: min(answerTimeout, max(s.keepAlive(), time.Second)),
		write: s.timeout(), packet: s.maxPacket(), filters: len(filters), clean: s.Clean,
		skipped: s.tooLarge,
	})
	defer c.abort(net.ErrClosed)
	store := s.unacked.open()
	client := paho.NewClient(s.options(c, store, cred))
	present, err := connect(ctx, c, client, superseded)
	if err != nil {
		return endedConnect(err, c.cause())
	}
	accepted := time.Now()
	c.keep()
	s.accepted(cred, present)
	refused, err := s.subscribe(ctx, c, client, filters, superseded)
	if err == nil {
		s.online(cred, filters, refused)
		s.link.Store(&link{conn: c, client: client, store: store, slot: make(chan struct{}, 1)})
		err = hold(ctx, c, superseded, asked)
		s.link.Store(nil)
	}
	up := time.Since(accepted)
	c.end(err)
	client.Disconnect(quiesce)
	return ended(err, up)
}

// hold waits for the end of a connection and returns its reason.
func hold(ctx context.Context, c *conn, superseded, asked <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-superseded:
		return errSuperseded
	case <-asked:
		return errAsked
	case <-c.done:
		return c.cause()
	}
}

// connect sends CONNECT and waits for CONNACK and for the unacknowledged
// messages of earlier connections to be written.
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
func (s *Session) options(c net.Conn, store paho.Store, cred Credential) *paho.ClientOptions {
	return paho.NewClientOptions().
		AddBroker("tcp://broker"). // never dialled
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return c, nil }).
		SetClientID(cred.ClientID).
		SetUsername(cred.Username).
		SetPassword(cred.Password).
		SetProtocolVersion(4).
		SetCleanSession(false). // conn says what we want; true would forget unacknowledged messages
		SetStore(store).
		SetKeepAlive(0). // conn does it
		SetConnectTimeout(s.timeout()).
		SetWriteTimeout(s.timeout() + time.Second). // after the limit of conn, so that no message waits for the next connection
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetResumeSubs(false).
		SetOrderMatters(true). // see receive
		SetAutoAckDisabled(true).
		SetDefaultPublishHandler(s.receive)
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
