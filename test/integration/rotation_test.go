//go:build integration

package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
	"github.com/spoke-zone/spoke-zone-agent/test/peers"
)

// TestCommandsArriveThroughRotations sends commands without a pause while the
// credential changes: the persistent session keeps those of the gaps.
func TestCommandsArriveThroughRotations(t *testing.T) {
	dir := t.TempDir()
	certs, err := peers.NewCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	users := [2]string{newToken(time.Hour), newToken(2 * time.Hour)}
	broker, err := peers.StartMosquitto(dir, certs, map[string]string{users[0]: password, users[1]: password, watcher: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	dialer, err := mqtt.NewDialer("mqtts://"+broker.Addr, trust(t, certs), 0)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := map[string]int{}
	for _, breakFirst := range []bool{false, true} {
		t.Run(fmt.Sprintf("break first %v", breakFirst), func(t *testing.T) {
			clear(got)
			var current latest.Value[int]
			current.Set(0)
			gateway := &mqtt.Session{
				Dial: dialer.Dial, BreakFirst: breakFirst,
				Credential: func(context.Context) (mqtt.Credential, <-chan struct{}, error) {
					i, _, superseded := current.Get()
					return mqtt.Credential{ClientID: "gateway", Username: users[i%2], Password: password,
						Filters: []mqtt.Filter{{Topic: "ctrl/#", QoS: 1}}}, superseded, nil
				},
				OnMessage: func(m mqtt.Message) {
					mu.Lock()
					defer mu.Unlock()
					got[string(m.Payload)]++
				},
			}
			person := &mqtt.Session{Dial: dialer.Dial, Credential: func(context.Context) (mqtt.Credential, <-chan struct{}, error) {
				return mqtt.Credential{ClientID: "person", Username: watcher, Password: password}, nil, nil
			}}
			ctx, cancel := context.WithCancel(t.Context())
			var sessions errgroup.Group
			for _, s := range []*mqtt.Session{gateway, person} {
				sessions.Go(func() error { return s.Run(ctx) })
				eventually(t, "online", func() bool { st, _ := s.Status(); return st.State == mqtt.Online }, func() string { return logOf(t, broker) })
			}
			// Rotations come one after another, each when the one before has been made; commands come until all have.
			connects := func() int { st, _ := gateway.Status(); return st.Connects }
			n, rotations, due := 0, 0, 100
			for ; rotations < 6 || n < due; n++ {
				if n >= due && rotations < 6 && connects() > rotations {
					rotations++
					current.Set(rotations)
					due = n + 100
				}
				if err := person.Publish(ctx, mqtt.Message{Topic: "ctrl/x", Payload: []byte(fmt.Sprint(n)), QoS: 1, Keep: mqtt.KeepNone}); err != nil {
					t.Fatal(err)
				}
				if n > 20_000 {
					t.Fatalf("rotation %d never comes: %s", rotations, logOf(t, broker))
				}
				time.Sleep(13 * time.Millisecond)
			}
			count := func() (different, all int) {
				mu.Lock()
				defer mu.Unlock()
				for _, times := range got {
					all += times
				}
				return len(got), all
			}
			eventually(t, "the last rotation", func() bool { return connects() > rotations }, func() string { return fmt.Sprint(connects()) })
			eventually(t, "every command", func() bool { different, _ := count(); return different == n }, func() string { d, _ := count(); return fmt.Sprint(d) })
			_, all := count()
			st, _ := gateway.Status()
			t.Logf("%d commands came %d times over %d connections, %d by takeover", n, all, st.Connects, st.Takeovers)
			if all != n {
				t.Errorf("%d commands came %d times", n, all)
			}
			if (st.Takeovers == 0) != breakFirst || st.Connects <= rotations {
				t.Errorf("status %+v", st)
			}
			cancel()
			if err := sessions.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
