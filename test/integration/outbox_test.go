//go:build integration

package integration

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
	"github.com/spoke-zone/spoke-zone-agent/mqtt/outbox"
	"github.com/spoke-zone/spoke-zone-agent/test/peers"
)

const (
	topics = 4
	// pace is between two messages, so that rotations and kills fall among them.
	pace = 8 * time.Millisecond
)

// An attempt of a session to connect is the last of which there was a word.
type attempt struct {
	mu       sync.Mutex
	number   int // of the credential
	connects int // before it
}

func (a *attempt) begin(s *mqtt.Session, number int) {
	st, _ := s.Status()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.number, a.connects = number, st.Connects
}

// settled reports whether s has no takeover under way and made none just now: a
// broker that dies in one, or soon after two, looks like one that refuses them.
func (a *attempt) settled(s *mqtt.Session, number int) bool {
	st, _ := s.Status()
	a.mu.Lock()
	defer a.mu.Unlock()
	return st.State != mqtt.Online || a.number == number && st.Connects > a.connects && time.Since(st.OnlineAt) > 1200*time.Millisecond
}

// TestNothingIsLostToRotationsAndToABrokerThatDies publishes MESSAGES (1,000)
// while the credential changes every 2 s and the broker is killed three times.
func TestNothingIsLostToRotationsAndToABrokerThatDies(t *testing.T) {
	n, dir := size("MESSAGES", 1000), t.TempDir()
	certs, err := peers.NewCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	users := [2]string{newToken(time.Hour), newToken(2 * time.Hour)}
	broker, err := peers.StartMosquitto(dir, certs, map[string]string{users[0]: password, users[1]: password, watcher: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Stop() })
	outside := receive(t, broker, certs, "test/#")
	way := newGate(t, broker.Addr, outside.ready)
	dialer, err := mqtt.NewDialer("mqtts://"+way.Addr().String(), trust(t, certs), 0)
	if err != nil {
		t.Fatal(err)
	}
	var current latest.Value[int]
	current.Set(0)
	var s *mqtt.Session
	var last attempt
	s = &mqtt.Session{
		Dial: dialer.Dial, Outbox: &outbox.Outbox{Dir: t.TempDir(), Window: time.Millisecond},
		Credential: func(context.Context) (mqtt.Credential, <-chan struct{}, error) {
			i, _, superseded := current.Get()
			last.begin(s, i)
			return mqtt.Credential{ClientID: "gateway", Username: users[i%2], Password: password}, superseded, nil
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var session, work errgroup.Group
	session.Go(func() error { return s.Run(ctx) })
	published := make(chan struct{})
	var rotating sync.Mutex // held while the broker is away
	work.Go(func() error {  // the rotations
		for i := 1; ; i++ {
			select {
			case <-published:
				return nil
			case <-time.After(2 * time.Second):
				rotating.Lock()
				current.Set(i)
				rotating.Unlock()
			}
		}
	})
	for i := range n {
		m := mqtt.Message{Topic: fmt.Sprint("test/", i%topics), Payload: []byte(fmt.Sprint(i)), QoS: 1}
		if err := s.Publish(ctx, m); err != nil {
			t.Fatalf("Publish: %v", err)
		}
		if i%(n/4) == n/4-1 && i < n-n/4 {
			rotating.Lock()
			eventually(t, "no takeover under way, and none just made", func() bool {
				i, _, _ := current.Get()
				return last.settled(s, i)
			}, func() string { st, _ := s.Status(); return fmt.Sprintf("%+v", st) })
			outside.expect() // nothing goes to a broker without it
			broker.Kill()
			err := broker.Start()
			rotating.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(pace)
	}
	// The session may be waiting for the broker it lost; the rotations go on until one was made by takeover.
	eventually(t, "a rotation by takeover", func() bool { st, _ := s.Status(); return st.Takeovers > 0 },
		func() string { st, _ := s.Status(); return fmt.Sprintf("%+v", st) })
	close(published)
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	outside.judge(t, n)
	st, _ := s.Status()
	t.Logf("%d connections, %d by takeover; the last gap %v", st.Connects, st.Takeovers, st.Gap)
	if st.Takeovers == 0 || st.BreakFirst {
		t.Errorf("status %+v: no rotation by takeover", st)
	}
	eventually(t, "an empty queue", func() bool { return s.Queue().Messages == 0 }, func() string { return fmt.Sprintf("%+v", s.Queue()) })
	cancel()
	if err := session.Wait(); err != nil {
		t.Error(err)
	}
}

// TestNothingIsLostToKillsOfTheAgent has the built agent take MESSAGES (1,000)
// from a local program while it is killed every 5 s, or every 400 messages where
// that takes longer.
func TestNothingIsLostToKillsOfTheAgent(t *testing.T) {
	n, dir := size("MESSAGES", 1000), t.TempDir()
	certs, err := peers.NewCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	token := newToken(6 * 24 * time.Hour)
	broker, err := peers.StartMosquitto(dir, certs, map[string]string{token: password, watcher: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	c := &cloud{t: t, token: token, uploads: map[int][]byte{}}
	c.onRenew = func(old, token string) error {
		return broker.Admit(map[string]string{old: password, token: password, watcher: password})
	}
	app := httptest.NewServer(c.handler())
	t.Cleanup(app.Close)
	www := filepath.Join(dir, "www")
	if err := os.Mkdir(www, 0o755); err != nil {
		t.Fatal(err)
	}
	web, err := peers.StartNginx(dir, certs, www, app.Listener.Addr().String(), "0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(web.Stop)
	outside := receive(t, broker, certs, "mrs/d/4711/mon/test/#")
	eventually(t, "the subscriber", outside.ready, func() string { return logOf(t, broker) })
	g := newGateway(t, token, web.Addr, broker.Addr, certs.CA)
	g.start()

	client := &local.Client{Socket: g.path("run/agent.sock")}
	kills, again, killed, since := 0, 0, time.Now(), 0
	for i := range n {
		payload := fmt.Sprint(i)
		m := local.Publication{Topic: fmt.Sprint("mon/test/", i%topics), Payload: &payload}
		deadline := time.Now().Add(time.Minute)
		for err := client.Publish(t.Context(), m); err != nil; err = client.Publish(t.Context(), m) {
			if time.Now().After(deadline) {
				t.Fatalf("the agent takes no message: %v", err)
			}
			again++
			time.Sleep(20 * time.Millisecond)
		}
		// On a slow machine few messages come in 5 s, and what a kill costs is judged by their number.
		if since++; since >= 400 && time.Since(killed) > 5*time.Second {
			g.kill()
			g.start()
			kills, killed, since = kills+1, time.Now(), 0
		}
		time.Sleep(pace)
	}
	outside.judge(t, n)
	t.Logf("%d kills, %d calls repeated", kills, again)
	if kills == 0 {
		t.Error("the agent was not killed")
	}
	g.until("an empty outbox", func(s local.Status) bool { return s.Outbox.Messages == 0 })
}
