package placeos

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// The kinds of event of the broker.
const (
	KindConnect   = "connect"   // CONNECT, with the code it got
	KindSubscribe = "subscribe" // one filter
	KindForbidden = "forbidden" // a message from somebody who may not write
	KindPublish   = "publish"   // a message from somebody who may
)

// A Connect is one CONNECT.
type Connect struct {
	At       time.Time
	ClientID string
	Token    string // the user name
	Code     byte   // of the CONNACK
}

// DialMQTT connects in memory to the broker, whatever it is called. TLS is the
// caller's to speak.
func (s *Server) DialMQTT(ctx context.Context, network, addr string) (net.Conn, error) {
	if _, cut := s.Hit(host.Unreachable, OpMQTT); cut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: network is unreachable", addr)}
	}
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	ours, theirs := net.Pipe()
	s.links.Go(func() { s.ServeMQTT(ours) })
	return theirs, nil
}

// ListenMQTT serves MQTT on addr, a free port of 127.0.0.1 if it is empty,
// until Close, over TLS if there are settings, and returns the broker's URL.
func (s *Server) ListenMQTT(addr, name string, settings *tls.Config) (url string, err error) {
	l, place, err := host.Listen(addr, name)
	if err != nil {
		return "", fmt.Errorf("placeos: %w", err)
	}
	url = "mqtt://" + place
	if settings != nil {
		l, url = tls.NewListener(l, settings), "mqtts://"+place
	}
	s.Until(func() { l.Close() })
	s.links.Go(func() {
		host.Accept(l, func(conn net.Conn) { s.links.Go(func() { s.ServeMQTT(conn) }) })
	})
	return url, nil
}

// ServeMQTT is the broker's side of one connection. The user name is the token
// or the API key; the password does not matter. It returns when conn has ended.
func (s *Server) ServeMQTT(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	s.conns[conn] = ""
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	if s.Closed() { // DropMQTT may have looked before this one was there
		return
	}
	gate := &gate{s: s}
	link, err := cloudtest.NewLink(conn, gate)
	if err != nil {
		return
	}
	gate.token = link.Connect.Username
	code := s.connect(link)
	s.mu.Lock()
	s.connects.Add(Connect{s.Now(), link.Connect.ClientIdentifier, gate.token, code})
	s.mu.Unlock()
	s.Note(host.Event{Kind: KindConnect, Op: OpMQTT, Status: int(code), Token: host.Tail(gate.token)})
	if code != packets.Accepted {
		link.Refuse(code)
		return
	}
	s.mu.Lock()
	s.conns[conn] = gate.token
	s.mu.Unlock()
	s.broker.Serve(link)
}

// connect decides about a CONNECT: the token must be good now.
func (s *Server) connect(link *cloudtest.Link) byte {
	if arg, ok := s.Hit(RefuseConnect, OpMQTT); ok {
		n, _ := strconv.Atoi(arg)
		return byte(n)
	}
	if link.Connect.ProtocolVersion != 4 {
		return packets.ErrRefusedBadProtocolVersion
	}
	if code := link.Connect.Validate(); code != packets.Accepted {
		return code
	}
	if id, why := s.mqttIdentity(link.Connect.Username, true); why != "" || !id.mayRead() {
		return packets.ErrRefusedNotAuthorised
	}
	return packets.Accepted
}

func (s *Server) mqttIdentity(text string, fresh bool) (identity, string) {
	if strings.Count(text, ".") == 1 {
		return s.byKey(text, s.opt.Domain)
	}
	domain := s.opt.Domain
	if domain == "" {
		domain = domainOf(text)
	}
	return s.byToken(text, domain, fresh)
}

// A gate decides about the topics of one connection, whose token may have
// expired meanwhile.
type gate struct {
	s     *Server
	token string
}

func (g *gate) Subscribe(filter string) cloudtest.Verdict {
	_, why := g.s.mqttIdentity(g.token, false)
	g.s.Note(host.Event{Kind: KindSubscribe, Op: OpMQTT, Topic: filter, Why: why})
	if why != "" {
		return cloudtest.Refused
	}
	return cloudtest.Granted
}

func (g *gate) Publish(m cloudtest.Message) cloudtest.Verdict {
	id, why := g.s.mqttIdentity(g.token, false)
	if why != "" || !id.mayWrite() {
		g.s.Note(host.Event{Kind: KindForbidden, Op: OpMQTT, Topic: m.Topic, Why: why})
		return cloudtest.Ignored
	}
	g.s.Note(host.Event{Kind: KindPublish, Op: OpMQTT, Topic: m.Topic})
	return cloudtest.Granted
}

// Connects returns the newest CONNECTs, some thousands at most, oldest first.
func (s *Server) Connects() []Connect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connects.All()
}

// Online returns the tokens of the MQTT connections that there are.
func (s *Server) Online() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tokens []string
	for _, token := range s.conns {
		if token != "" {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// DropMQTT cuts every MQTT connection.
func (s *Server) DropMQTT() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		host.Cut(conn)
	}
}

// Publish sends the state of a module, as the server's side does: on a topic
// under placeos/, which stays for later subscribers if it is retained.
func (s *Server) Publish(m cloudtest.Message) error { return s.broker.Publish(m) }
