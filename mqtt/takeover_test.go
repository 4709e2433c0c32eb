package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// TestRotationByTakeover has the next connection stand before the one before
// ends, with messages on their way all the time.
func TestRotationByTakeover(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		for i := range 20 {
			pause(2 * time.Second)
			f.token.Set(fmt.Sprint("t", i))
			f.publish(t, nil)
			if st := f.state(); st.State != Online {
				t.Fatalf("rotation %d: %+v", i, st)
			}
		}
		synctest.Wait()
		if st := f.state(); st.Takeovers != 20 || st.Connects != 21 || st.Attempt != 0 || st.Kicks != 0 || st.BreakFirst {
			t.Errorf("status %+v", st)
		}
		if b.disconnects != 0 || len(b.pubs) != 20 || len(b.live) != 1 {
			t.Errorf("%d DISCONNECT, %d PUBLISH, %d connections", b.disconnects, len(b.pubs), len(b.live))
		}
	})
}

// TestRotationWithoutANetwork leaves the connection that there is alone.
func TestRotationWithoutANetwork(t *testing.T) {
	for _, err := range []error{errors.New("no route to host"), fmt.Errorf("handshake: %w", syscall.ECONNRESET)} {
		t.Run(err.Error(), func(t *testing.T) { withoutNetwork(t, err) })
	}
}

func withoutNetwork(t *testing.T, err error) {
	b := new(broker)
	var down atomic.Bool
	run(t, b, func(f *fixture) {
		f.Dial = func(ctx context.Context) (net.Conn, error) {
			if down.Load() {
				return nil, err
			}
			return b.Dial(ctx)
		}
	}, func(t *testing.T, f *fixture) {
		pause(time.Minute)
		down.Store(true)
		f.token.Set("t2")
		for range 60 {
			pause(time.Minute)
			f.publish(t, nil)
		}
		if st := f.state(); st.State != Online || st.Connects != 1 || st.Held == "" || st.BreakFirst {
			t.Errorf("status %+v", st)
		}
		down.Store(false)
		pause(5 * time.Minute)
		if st := f.state(); st.State != Online || st.Takeovers != 1 || st.Held != "" || b.users() != "t1 t2" {
			t.Errorf("users %q, status %+v", b.users(), st)
		}
	})
}

// TestEveryNewCredentialRefused keeps the connection with the last good one, and
// makes no storm.
func TestEveryNewCredentialRefused(t *testing.T) {
	b := &broker{code: func(user string) byte {
		if user == "t1" {
			return 0
		}
		return packets.ErrRefusedNotAuthorised
	}}
	refused := 0
	run(t, b, func(f *fixture) {
		f.OnRefused = func(Credential, error) { refused++; f.token.Set(fmt.Sprint("bad", refused)) }
	}, func(t *testing.T, f *fixture) {
		pause(time.Minute)
		f.token.Set("bad")
		pause(24 * time.Hour)
		f.publish(t, nil)
		st := f.state()
		if st.State != Online || st.Connects != 1 || st.Refusals != refused || !strings.Contains(st.Held, "refused") || st.BreakFirst {
			t.Errorf("status %+v", st)
		}
		if n := len(b.attempts()); n < 100 || n > 24*60 {
			t.Errorf("%d attempts in a day", n)
		}
		f.OnRefused = nil
	})
	gaps(t, b)
}

// TestPubacksUnderWayAtATakeoverCount sends nothing again that the broker has
// acknowledged on the connection before.
func TestPubacksUnderWayAtATakeoverCount(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		pause(time.Minute)
		b.set(func() { b.noAck = true })
		errs := make(chan error, 10)
		for range 10 {
			go func() { errs <- f.Publish(t.Context(), Message{Topic: "a", QoS: 1}) }()
		}
		synctest.Wait()
		old := b.conns[0]
		b.set(func() {
			b.noAck, b.second = false, "keep" // this broker is slow to end the one before
			b.hear = func(p packets.ControlPacket) bool {
				if _, connect := p.(*packets.ConnectPacket); connect {
					go func() {
						for _, p := range b.pubs[:10] {
							ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
							ack.MessageID = p.MessageID
							ack.Write(old)
						}
						old.Close()
					}()
				}
				return true
			}
		})
		f.token.Set("t2")
		synctest.Wait()
		for range 10 {
			if err := <-errs; err != nil {
				t.Errorf("Publish: %v", err)
			}
		}
		if len(b.pubs) != 10 || f.state().Takeovers != 1 {
			t.Errorf("%d PUBLISH, %+v", len(b.pubs), f.state())
		}
	})
}

// TestUnacknowledgedAtATakeoverAreSentAgain as duplicates, in order, before what
// comes after.
func TestUnacknowledgedAtATakeoverAreSentAgain(t *testing.T) {
	b := &broker{noAck: true}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		pause(time.Minute)
		errs := make(chan error, 2)
		go func() { errs <- f.Publish(t.Context(), Message{Topic: "a", QoS: 1, Payload: []byte("1")}) }()
		synctest.Wait()
		b.set(func() { b.noAck = false })
		f.token.Set("t2")
		go func() { errs <- f.Publish(t.Context(), Message{Topic: "a", QoS: 1, Payload: []byte("2")}) }()
		pause(time.Second)
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Error(err)
		}
		if len(b.pubs) < 2 || b.pubs[0].Dup {
			t.Fatalf("%v", b.pubs)
		}
		again := 0
		for _, p := range b.pubs[1:] {
			if string(p.Payload) == "1" && p.Dup && p.MessageID == b.pubs[0].MessageID {
				again++
			}
		}
		if again != 1 {
			t.Errorf("sent again %d times: %v", again, b.pubs)
		}
	})
}

// TestStrangerWithOurClientID is found out, named and left the field for ever
// longer, whatever it does.
func TestStrangerWithOurClientID(t *testing.T) {
	for _, every := range []time.Duration{3 * time.Second, 10 * time.Second, 40 * time.Second, 2 * time.Minute} {
		t.Run(every.String(), func(t *testing.T) {
			b := new(broker)
			b.greet = func(c net.Conn) bool { time.AfterFunc(every, func() { c.Close() }); return true }
			run(t, b, nil, func(t *testing.T, f *fixture) {
				told, n := false, 0
				for range 12 * 60 {
					pause(5 * time.Second)
					if st := f.state(); st.Cause == CauseTaken && strings.Contains(st.Err, `client id "dev1"`) {
						told = true
					}
					n = len(b.attempts())
				}
				if !told || n > 60 {
					t.Errorf("told %v, %d connects in an hour", told, n)
				}
				b.set(func() { b.greet = nil })
				pause(10 * time.Minute)
				f.publish(t, nil)
			})
			gaps(t, b)
		})
	}
}

// TestOwnTakeoversAreNoStrangers however often the credential changes.
func TestOwnTakeoversAreNoStrangers(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		for i := range 100 {
			f.token.Set(fmt.Sprint(i))
			pause(2 * time.Second)
			if st := f.state(); st.State != Online || st.Kicks != 0 {
				t.Fatalf("status %+v", st)
			}
		}
		b.drop()
		pause(5 * time.Second)
		if st := f.state(); st.State != Online {
			t.Errorf("status %+v", st)
		}
	})
}

// TestLoopProvesThatItTurns for the watchdog: each promise is kept.
func TestLoopProvesThatItTurns(t *testing.T) {
	b := new(broker)
	var due time.Time
	late := 0
	run(t, b, func(f *fixture) {
		f.Alive = func(within time.Duration) {
			if !due.IsZero() && time.Now().After(due) {
				late++
			}
			if due = time.Now().Add(within); within == 0 {
				due = time.Time{}
			}
		}
	}, func(t *testing.T, f *fixture) {
		pause(time.Hour)
		b.set(func() { b.code = func(string) byte { return 3 } })
		b.drop()
		pause(time.Hour)
		b.set(func() { b.code = nil })
		pause(time.Hour)
		f.token.Set("t2")
		pause(time.Hour)
		if late > 0 || due.Before(time.Now()) {
			t.Errorf("%d times late, due %v ago", late, time.Since(due))
		}
	})
}
