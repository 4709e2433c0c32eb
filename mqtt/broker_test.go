package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// A broker is an in-memory stand-in that behaves as its fields say. Fields are
// set before it serves, or under mu.
type broker struct {
	mu sync.Mutex

	code    func(user string) byte            // of CONNACK
	suback  func(topic string, qos byte) byte // of SUBACK
	greet   func(net.Conn) bool               // after CONNACK; false closes
	hear    func(packets.ControlPacket) bool  // before a packet is answered; false closes
	raw     []byte                            // sent instead of CONNACK
	noAck   bool                              // no PUBACK
	silent  bool                              // reads and answers nothing any more
	stuck   chan struct{}                     // if not nil, nothing is read until it is closed
	present bool                              // session present
	second  string                            // a CONNECT beside one of the same client: "" ends that one; or refuse, close, close both, ignore, kick, kick later

	conns       []net.Conn
	live        map[string]net.Conn // by client id
	connects    []*packets.ConnectPacket
	times       []time.Time // of connects
	pubs        []*packets.PublishPacket
	subs        []*packets.SubscribePacket
	acked       []uint16
	pings       []time.Time
	disconnects int
	strange     []string
}

func (b *broker) Dial(context.Context) (net.Conn, error) {
	server, client := net.Pipe()
	b.mu.Lock()
	b.conns = append(b.conns, server)
	b.mu.Unlock()
	go b.serve(server)
	return client, nil
}

func (b *broker) serve(c net.Conn) {
	defer func() {
		c.Close()
		b.mu.Lock()
		defer b.mu.Unlock()
		for id, live := range b.live {
			if live == c {
				delete(b.live, id)
			}
		}
	}()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil || !b.answer(c, p) {
			return
		}
		b.mu.Lock()
		stuck := b.stuck
		b.mu.Unlock()
		if stuck != nil {
			<-stuck
		}
	}
}

func (b *broker) answer(c net.Conn, p packets.ControlPacket) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hear != nil && !b.hear(p) {
		return false
	}
	var out packets.ControlPacket
	switch p := p.(type) {
	case *packets.ConnectPacket:
		b.connects, b.times = append(b.connects, p), append(b.times, time.Now())
		if b.live == nil {
			b.live = make(map[string]net.Conn)
		}
		before := b.live[p.ClientIdentifier]
		if before != nil && b.second == "ignore" {
			return true
		}
		if before != nil && (b.second == "" || b.second == "close both" || strings.HasPrefix(b.second, "kick")) && (b.code == nil || b.code(p.Username) == 0) {
			before.Close()
		}
		if before != nil && (b.second == "close" || b.second == "close both") {
			return false
		}
		if b.raw != nil {
			go c.Write(b.raw) // the client may stop reading anywhere
			return true
		}
		ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		if b.code != nil {
			ack.ReturnCode = b.code(p.Username)
		}
		if before != nil && b.second == "refuse" {
			ack.ReturnCode = packets.ErrRefusedIDRejected
		}
		if ack.ReturnCode == 0 {
			b.live[p.ClientIdentifier] = c
		}
		ack.SessionPresent = b.present && ack.ReturnCode == 0
		if ack.Write(c) != nil || ack.ReturnCode != 0 {
			return false
		}
		if before != nil && b.second == "kick later" { // after SUBACK
			time.AfterFunc(oustWindow/2, func() { c.Close() })
		}
		if before != nil && b.second == "kick" {
			return false
		}
		return b.greet == nil || b.greet(c)
	case *packets.PublishPacket:
		b.pubs = append(b.pubs, p)
		if p.Qos == 1 && !b.noAck {
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = p.MessageID
			out = ack
		}
	case *packets.PubackPacket:
		b.acked = append(b.acked, p.MessageID)
	case *packets.SubscribePacket:
		b.subs = append(b.subs, p)
		ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		ack.MessageID = p.MessageID
		for i, topic := range p.Topics {
			code := p.Qoss[i]
			if b.suback != nil {
				code = b.suback(topic, code)
			}
			ack.ReturnCodes = append(ack.ReturnCodes, code)
		}
		out = ack
	case *packets.PingreqPacket:
		b.pings = append(b.pings, time.Now())
		out = packets.NewControlPacket(packets.Pingresp)
	case *packets.DisconnectPacket:
		b.disconnects++
		return false
	default:
		b.strange = append(b.strange, fmt.Sprint(p))
	}
	if out == nil || b.silent {
		return true
	}
	return out.Write(c) == nil
}

// drop closes the newest connection.
func (b *broker) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns[len(b.conns)-1].Close()
}

// send writes p on the newest connection.
func (b *broker) send(t *testing.T, p packets.ControlPacket) {
	t.Helper()
	b.mu.Lock()
	c := b.conns[len(b.conns)-1]
	b.mu.Unlock()
	if err := p.Write(c); err != nil {
		t.Errorf("send %v: %v", p, err)
	}
}

func (b *broker) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// users returns the user names presented, joined.
func (b *broker) users() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, c := range b.connects {
		out = append(out, c.Username)
	}
	return strings.Join(out, " ")
}

func (b *broker) attempts() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]time.Time(nil), b.times...)
}

func publishOf(topic, payload string, qos byte, id uint16) *packets.PublishPacket {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.MessageID = topic, []byte(payload), qos, id
	return p
}

// A fixture runs one session against one broker inside a synctest bubble.
type fixture struct {
	*Session
	b     *broker
	token latest.Value[string] // the credential's user name
	stop  context.CancelFunc
	done  chan error
}

// run calls test with a session that is already running with the token "t1".
func run(t *testing.T, b *broker, set func(*fixture), test func(*testing.T, *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{b: b, done: make(chan error, 1)}
		f.Session = &Session{Dial: b.Dial, Broker: "memory", Log: slog.New(slog.DiscardHandler)}
		f.Credential = func(ctx context.Context) (Credential, <-chan struct{}, error) {
			user, superseded, err := f.token.Wait(ctx)
			return Credential{ClientID: "dev1", Username: user, Password: "x", Filters: []Filter{{Topic: "base/ctrl/#", QoS: 1}}}, superseded, err
		}
		f.token.Set("t1")
		if set != nil {
			set(f)
		}
		ctx, cancel := context.WithCancel(t.Context())
		f.stop = cancel
		go func() { f.done <- f.Run(ctx) }()
		synctest.Wait()
		test(t, f)
		cancel()
		if err := <-f.done; err != nil {
			t.Errorf("Run = %v", err)
		}
		time.Sleep(time.Second) // the library's last goroutines
	})
}

// pause sleeps and then waits until everything else does: what it reads
// afterwards is settled, for the race detector too.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// state returns the current Status without its channel.
func (f *fixture) state() Status {
	st, _ := f.Status()
	return st
}

// publish sends a QoS 1 message and reports its error.
func (f *fixture) publish(t *testing.T, want error) {
	t.Helper()
	if err := f.Publish(t.Context(), Message{Topic: "base/mon/x", QoS: 1, Payload: []byte("1")}); !errors.Is(err, want) {
		t.Errorf("Publish = %v, want %v", err, want)
	}
}
