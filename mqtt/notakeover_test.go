package mqtt

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// TestRotationAtABrokerThatRefusesTakeovers falls back to break before make, and
// remembers: at once what a CONNACK says, else what has happened twice. One that
// closes the connection before too leaves none for a second try, so that this is
// one of the next rotation.
func TestRotationAtABrokerThatRefusesTakeovers(t *testing.T) {
	for second, want := range map[string]struct{ rotations, connects int }{
		"refuse": {1, 1}, "close": {1, 2}, "ignore": {1, 2}, "close both": {2, 1},
	} {
		t.Run(second, func(t *testing.T) {
			b := &broker{second: second}
			told := 0
			run(t, b, func(f *fixture) { f.OnBreakFirst = func() { told++ } }, func(t *testing.T, f *fixture) {
				for i := range want.rotations {
					pause(time.Hour)
					if told > 0 || f.state().BreakFirst {
						t.Fatalf("given up after %d rotations", i)
					}
					token, before := fmt.Sprint("new", i), len(b.attempts())
					f.token.Set(token)
					pause(10 * time.Minute)
					st := f.state()
					if st.State != Online || !strings.HasSuffix(b.users(), " "+token) || st.Takeovers != 0 {
						t.Fatalf("users %q, status %+v", b.users(), st)
					}
					if n := len(b.attempts()) - before; n != want.connects+1 {
						t.Errorf("rotation %d took %d CONNECTs, want %d", i, n, want.connects+1)
					}
				}
				if told != 1 || !f.state().BreakFirst {
					t.Errorf("told %d times, status %+v", told, f.state())
				}
				before := len(b.attempts())
				f.token.Set("t3")
				pause(minGap)
				if st := f.state(); st.State != Online || len(b.attempts()) != before+1 || b.disconnects == 0 {
					t.Errorf("not remembered: users %q, status %+v", b.users(), st)
				}
				f.publish(t, nil)
			})
			gaps(t, b)
		})
	}
}

// TestRotationAtABrokerThatEndsTheNewConnection counts that as a refusal once it
// has happened again, whatever became of the connections between.
func TestRotationAtABrokerThatEndsTheNewConnection(t *testing.T) {
	for _, second := range []string{"kick", "kick later"} {
		t.Run(second, func(t *testing.T) {
			b := &broker{second: second}
			told := 0
			run(t, b, func(f *fixture) { f.OnBreakFirst = func() { told++ } }, func(t *testing.T, f *fixture) {
				for i := range oustTimes {
					pause(time.Hour)
					if told > 0 || f.state().BreakFirst {
						t.Fatalf("given up after %d", i)
					}
					f.token.Set(fmt.Sprint("new", i))
				}
				pause(time.Hour)
				before := f.state()
				f.token.Set("last")
				pause(minGap)
				st := f.state()
				if told != 1 || !st.BreakFirst || st.State != Online || st.Connects != before.Connects+1 || st.Takeovers != before.Takeovers {
					t.Errorf("told %d times, before %+v, now %+v", told, before, st)
				}
				f.publish(t, nil)
			})
		})
	}
}

// TestBrokerThatRestartsAfterTakeoversRefusesNone as long as takeovers last.
func TestBrokerThatRestartsAfterTakeoversRefusesNone(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		for i := range 10 {
			for _, user := range []string{"a", "b"} {
				pause(10 * time.Minute)
				f.token.Set(fmt.Sprint(user, i))
			}
			pause(oustWindow / 2)
			b.drop()
		}
		pause(time.Hour)
		if st := f.state(); st.State != Online || st.BreakFirst || st.Takeovers != 20 {
			t.Errorf("status %+v", st)
		}
	})
}

// TestBrokerThatRestartsDuringATakeoverRefusesNone although it closes both
// connections then, as long as takeovers last in between.
func TestBrokerThatRestartsDuringATakeoverRefusesNone(t *testing.T) {
	b := new(broker)
	var restart bool // under b.mu, as up
	var up time.Time
	run(t, b, func(f *fixture) {
		f.Dial = func(ctx context.Context) (net.Conn, error) {
			var starts bool
			if b.set(func() { starts = time.Now().Before(up) }); starts {
				return nil, syscall.ECONNREFUSED
			}
			return b.Dial(ctx)
		}
		b.hear = func(p packets.ControlPacket) bool {
			c, connect := p.(*packets.ConnectPacket)
			if !connect || !restart {
				return true
			}
			restart, up = false, time.Now().Add(10*time.Second)
			b.live[c.ClientIdentifier].Close()
			return false
		}
	}, func(t *testing.T, f *fixture) {
		for i := range 5 {
			before := f.state().Takeovers
			pause(time.Hour)
			b.set(func() { restart = true })
			f.token.Set(fmt.Sprint("during", i))
			pause(10 * time.Minute)
			if st := f.state(); st.State != Online || st.BreakFirst || st.Takeovers != before {
				t.Fatalf("restart %d: %+v", i, st)
			}
			f.token.Set(fmt.Sprint("after", i))
			pause(time.Minute)
			if st := f.state(); st.State != Online || st.Takeovers != before+1 {
				t.Fatalf("rotation after restart %d: %+v", i, st)
			}
		}
		f.publish(t, nil)
	})
	gaps(t, b)
}
