//go:build integration

package integration

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/spoke-zone/spoke-zone-agent/test/peers"
)

// A receiver is a subscriber outside of the agent. It counts what comes under
// TOPIC/N with the payload of a number, and connects again whenever the broker
// is back.
type receiver struct {
	addr string
	tls  *tls.Config

	mu         sync.Mutex
	subscribed bool
	got        map[string][]int // by topic, in the order of arrival
	closed     bool
	conn       net.Conn
}

func trust(t *testing.T, certs peers.Certificates) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(certs.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func receive(t *testing.T, broker *peers.Mosquitto, certs peers.Certificates, filter string) *receiver {
	r := &receiver{addr: broker.Addr, tls: trust(t, certs), got: map[string][]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !r.over() {
			r.session(filter)
			time.Sleep(10 * time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		r.mu.Lock()
		r.closed = true
		if r.conn != nil {
			r.conn.Close()
		}
		r.mu.Unlock()
		<-done
	})
	return r
}

func (r *receiver) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (r *receiver) session(filter string) {
	c, err := tls.Dial("tcp", r.addr, r.tls)
	if err != nil {
		return
	}
	defer c.Close()
	r.mu.Lock()
	r.conn = c
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.subscribed = false
	}()
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.CleanSession, hello.ClientIdentifier = "MQTT", 4, true, "receiver"
	hello.UsernameFlag, hello.PasswordFlag, hello.Username, hello.Password = true, true, watcher, []byte(password)
	sub := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	sub.MessageID, sub.Topics, sub.Qoss = 1, []string{filter}, []byte{0}
	if hello.Write(c) != nil || sub.Write(c) != nil {
		return
	}
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		r.mu.Lock()
		switch p := p.(type) {
		case *packets.SubackPacket:
			r.subscribed = true
		case *packets.PublishPacket:
			if n, err := strconv.Atoi(string(p.Payload)); err == nil {
				r.got[p.TopicName] = append(r.got[p.TopicName], n)
			}
		}
		r.mu.Unlock()
	}
}

// expect has ready wait for the next subscription: the connection of this one is
// about to die.
func (r *receiver) expect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subscribed = false
}

func (r *receiver) ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.subscribed
}

// count is how many different messages have come, and how many twice.
func (r *receiver) count() (different, again int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, list := range r.got {
		seen := map[int]bool{}
		for _, n := range list {
			if seen[n] {
				again++
			}
			seen[n] = true
		}
		different += len(seen)
	}
	return different, again
}

// disorder names a topic whose messages first came in another order, or "".
func (r *receiver) disorder() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, list := range r.got {
		last, seen := -1, map[int]bool{}
		for _, n := range list {
			if !seen[n] && n < last {
				return fmt.Sprintf("%s: %d first came after %d", topic, n, last)
			}
			seen[n], last = true, max(last, n)
		}
	}
	return ""
}

// A gate is a way to the broker that can be closed: while it is, connections
// end at once.
type gate struct {
	net.Listener
	to   string
	open func() bool
}

func newGate(t *testing.T, to string, open func() bool) *gate {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: l, to: to, open: open}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.pass(c)
		}
	}()
	t.Cleanup(func() { l.Close() })
	return g
}

func (g *gate) pass(c net.Conn) {
	defer c.Close()
	if !g.open() {
		return
	}
	b, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer b.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{b, c}, {c, b}} {
		go func() { io.Copy(way[0], way[1]); ended <- struct{}{} }()
	}
	<-ended
}

func size(name string, least int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return least
}

// judge waits for all of n messages and judges them.
func (r *receiver) judge(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages", n), func() bool { got, _ := r.count(); return got >= n },
		func() string { got, again := r.count(); return fmt.Sprintf("%d, %d of them again", got, again) })
	time.Sleep(200 * time.Millisecond) // for more than all
	got, again := r.count()
	t.Logf("%d messages, %d of them twice (%.2f %%)", got, again, 100*float64(again)/float64(n))
	if got != n || again*100 >= n {
		t.Errorf("%d of %d messages, %d of them twice: want all, and less than 1 %% twice", got, n, again)
	}
	if bad := r.disorder(); bad != "" {
		t.Error(strings.TrimSpace(bad))
	}
}
