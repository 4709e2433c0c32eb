package mqtt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestSessionNoticesAHalfOpenBroker(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		pause(time.Hour)
		b.set(func() { b.silent = true })
		start := time.Now()
		_, changed := f.Status()
		<-changed
		st := f.state()
		if took := time.Since(start); took > DefaultKeepAlive+answerTimeout || st.Cause != CauseSilent {
			t.Errorf("noticed after %v: %+v", took, st)
		}
		if wait := time.Until(st.NextTry); wait < minGap || wait > ladder[0] {
			t.Errorf("next attempt in %v, want 1s to 5s", wait)
		}
		b.set(func() { b.silent = false })
		pause(10 * time.Second)
		f.publish(t, nil)
	})
}

// Who only publishes at QoS 0 writes all the time and must still notice.
func TestSessionNoticesAHalfOpenBrokerWhilePublishing(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		b.set(func() { b.silent = true })
		start := time.Now()
		for f.state().State == Online {
			f.Publish(t.Context(), Message{Topic: "a"})
			pause(time.Second)
		}
		if took := time.Since(start); took > DefaultKeepAlive+answerTimeout+2*time.Second {
			t.Errorf("noticed after %v", took)
		}
	})
}

// A peer whose window is full blocks the write; that must end too.
func TestSessionNoticesAStuckPeer(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		stuck := make(chan struct{})
		b.set(func() { b.stuck = stuck })
		start := time.Now()
		for range 3 {
			f.Publish(t.Context(), Message{Topic: "a"})
		}
		if err := f.Publish(t.Context(), Message{Topic: "a", QoS: 1}); !errors.Is(err, ErrOffline) && !errors.Is(err, ErrUnconfirmed) {
			t.Errorf("Publish = %v", err)
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("took %v", took)
		}
		synctest.Wait()
		if st := f.state(); st.State == Online {
			t.Errorf("status = %+v", st)
		}
		close(stuck)
	})
}

func TestSessionPingsOnlyWhenIdle(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		pause(time.Hour - time.Second)
		if got := len(b.pings); got != 179 {
			t.Errorf("%d pings in an idle hour, want 179", got)
		}
		for range 360 {
			f.publish(t, nil)
			pause(10 * time.Second)
		}
		if got := len(b.pings); got > 180 {
			t.Errorf("%d pings in an hour with traffic", got-179)
		}
	})
}

func TestSessionPingsWithinTheAnnouncedInterval(t *testing.T) {
	for keepAlive, pings := range map[time.Duration]int{time.Second: 60, 1500 * time.Millisecond: 40, 30 * time.Second: 2, -1: 0} {
		b := new(broker)
		run(t, b, func(f *fixture) { f.KeepAlive = keepAlive }, func(t *testing.T, f *fixture) {
			pause(time.Minute + time.Millisecond)
			if got := len(b.pings); got != pings {
				t.Errorf("keep alive %v: %d pings a minute, want %d", keepAlive, got, pings)
			}
			announced := time.Duration(b.connects[0].Keepalive) * time.Second
			if announced < keepAlive || announced > keepAlive+time.Second {
				t.Errorf("keep alive %v announced as %v", keepAlive, announced)
			}
		})
	}
}

// A read at any time before the verdict saves the connection, and nothing else
// does.
func TestConnKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, side := net.Pipe()
		defer peer.Close()
		c := newConn(side, limits{keepAlive: 10 * time.Second, answer: 4 * time.Second, write: time.Minute, packet: 100})
		c.begun = true
		go func() {
			for {
				if _, err := c.Read(make([]byte, 16)); err != nil {
					return
				}
			}
		}()
		c.keep()
		start := time.Now()
		expect := func(at time.Duration) {
			t.Helper()
			p := make([]byte, 2)
			if _, err := io.ReadFull(peer, p); err != nil || !bytes.Equal(p, pingreq) || time.Since(start) != at {
				t.Fatalf("read %x, %v after %v, want PINGREQ after %v", p, err, time.Since(start), at)
			}
		}
		peer.Write([]byte("\x20\x02\x00\x00"))
		expect(10 * time.Second)
		time.Sleep(3 * time.Second)
		peer.Write([]byte("\xd0\x00"))
		expect(20 * time.Second) // from the last write on
		peer.Write([]byte("\xd0\x00"))
		time.Sleep(9 * time.Second)
		go c.Write([]byte("\xe0\x00"))
		peer.Read(make([]byte, 2))
		expect(30 * time.Second) // nothing was read for so long, although something was written
		<-c.done
		if took := time.Since(start); took != 34*time.Second || !errors.Is(c.cause(), errSilent) {
			t.Errorf("ended after %v: %v", took, c.cause())
		}
		if _, err := c.Write([]byte("\xe0\x00")); !errors.Is(err, errSilent) {
			t.Errorf("write on an ended connection: %v", err)
		}
	})
}
