package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

func TestSessionFollowsCredential(t *testing.T) {
	b := new(broker)
	var accepted []string
	run(t, b, func(f *fixture) {
		f.OnAccepted = func(c Credential) { accepted = append(accepted, c.Username) }
	}, func(t *testing.T, f *fixture) {
		f.publish(t, nil)
		pause(24 * time.Hour)
		f.token.Set("t2")
		synctest.Wait()
		if got := b.users(); got != "t1 t2" {
			t.Errorf("users at once after the change = %q, want %q", got, "t1 t2")
		}
		if st := f.state(); b.disconnects != 0 || st.Takeovers != 1 {
			t.Errorf("%d DISCONNECT, %d takeovers: want none and one", b.disconnects, st.Takeovers)
		}
		f.publish(t, nil)
		b.drop()
		pause(time.Minute)
		f.publish(t, nil)
		if got, want := b.users(), "t1 t2 t2"; got != want {
			t.Errorf("users = %q, want %q", got, want)
		}
		if got := strings.Join(accepted, " "); got != b.users() {
			t.Errorf("accepted = %q, want %q", got, b.users())
		}
	})
	if b.disconnects != 1 {
		t.Errorf("%d DISCONNECT in the end, want 1", b.disconnects)
	}
}

func TestSessionSpeaksVersion4AndSaysWhatItWants(t *testing.T) {
	for _, clean := range []bool{false, true} {
		b := &broker{present: true}
		run(t, b, func(f *fixture) { f.Clean, f.KeepAlive = clean, 25*time.Second }, func(t *testing.T, f *fixture) {
			c := b.connects[0]
			if c.ProtocolVersion != 4 || c.ProtocolName != "MQTT" || c.CleanSession != clean || c.Keepalive != 25 ||
				c.ClientIdentifier != "dev1" || c.Username != "t1" || string(c.Password) != "x" || c.WillFlag {
				t.Errorf("CONNECT = %v", c)
			}
			if st := f.state(); !st.SessionPresent || st.State != Online || st.Connects != 1 || st.Broker != "memory" {
				t.Errorf("status = %+v", st)
			}
		})
	}
}

func TestSessionRefusedThenRenewed(t *testing.T) {
	for _, code := range []byte{packets.ErrRefusedBadUsernameOrPassword, packets.ErrRefusedNotAuthorised} {
		b := &broker{code: func(user string) byte {
			if user == "good" {
				return 0
			}
			return code
		}}
		var refused error
		run(t, b, func(f *fixture) {
			f.OnRefused = func(c Credential, err error) {
				refused = err
				time.AfterFunc(500*time.Millisecond, func() { f.token.Set("good") })
			}
		}, func(t *testing.T, f *fixture) {
			st := f.state()
			if st.State != Refused || st.Cause != CauseRefused || st.Refusals != 1 || st.NextTry.IsZero() || !errors.Is(refused, ErrRefused) {
				t.Errorf("status = %+v, err %v", st, refused)
			}
			pause(time.Second)
			f.publish(t, nil) // online a second after the refusal
			if got := b.users(); got != "t1 good" {
				t.Errorf("users = %q: one CONNECT for each credential", got)
			}
		})
	}
}

// A rotation to a credential that turns out bad does not use up the chance of
// the one after it.
func TestSessionRotatedToABadCredentialThenRenewed(t *testing.T) {
	b := &broker{code: func(user string) byte {
		if user == "bad" {
			return packets.ErrRefusedNotAuthorised
		}
		return 0
	}}
	late := func(f *fixture) { f.Rand = func() float64 { return 0.9 } } // no second try with the bad one meanwhile
	run(t, b, late, func(t *testing.T, f *fixture) {
		pause(5 * time.Second)
		f.token.Set("bad")
		pause(2 * time.Second)
		f.token.Set("good")
		synctest.Wait()
		if st := f.state(); st.State != Online || b.users() != "t1 bad good" {
			t.Errorf("users %q, status %+v", b.users(), st)
		}
	})
}

// A source that hands out one bad credential after the other must not make a
// storm of CONNECTs.
func TestSessionRefusedForEver(t *testing.T) {
	b := &broker{code: func(string) byte { return packets.ErrRefusedNotAuthorised }}
	n := 0
	run(t, b, func(f *fixture) {
		f.OnRefused = func(Credential, error) { n++; f.token.Set(fmt.Sprint("bad", n)) }
	}, func(t *testing.T, f *fixture) {
		pause(24 * time.Hour)
		st := f.state()
		if got := len(b.attempts()); got < 24*12 || got > 24*60 {
			t.Errorf("%d attempts in a day", got)
		}
		if st.Refusals != n || st.Attempt != n {
			t.Errorf("%d refusals, attempt %d, want %d", st.Refusals, st.Attempt, n)
		}
		if f.OnRefused = nil; st.State != Refused {
			t.Errorf("state %s", st.State)
		}
	})
	gaps(t, b)
}

func gaps(t *testing.T, b *broker) {
	t.Helper()
	at := b.attempts()
	for i := 1; i < len(at); i++ {
		if gap := at[i].Sub(at[i-1]); gap < time.Second {
			t.Errorf("attempt %d follows after %v", i, gap)
		}
	}
}

func TestSessionWaitsOutABusyOrPickyBroker(t *testing.T) {
	for code, cause := range map[byte]string{1: CauseRejected, 2: CauseRejected, 3: CauseUnavailable} {
		b := &broker{code: func(string) byte { return code }}
		run(t, b, func(f *fixture) {
			f.OnRefused = func(Credential, error) { t.Errorf("CONNACK %d taken for a refused credential", code) }
		}, func(t *testing.T, f *fixture) {
			if st := f.state(); st.State != Offline || st.Cause != cause || st.Err == "" {
				t.Errorf("CONNACK %d: status = %+v", code, st)
			}
			pause(10 * time.Minute)
			b.set(func() { b.code = nil })
			pause(5 * time.Minute)
			f.publish(t, nil)
		})
		gaps(t, b)
	}
}

// A broker that accepts and closes at once is named, and left in peace.
func TestSessionKickedMakesNoStorm(t *testing.T) {
	b := &broker{greet: func(net.Conn) bool { return false }}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		st := f.state()
		if st.Cause != CauseKicked || st.Kicks != 1 || !strings.Contains(st.Err, "client id") {
			t.Errorf("status = %+v", st)
		}
		pause(time.Hour)
		hour := len(b.attempts())
		pause(23 * time.Hour)
		day := len(b.attempts())
		t.Logf("%d connects in an hour, %d in a day", hour, day)
		if hour > 60 || day > 800 || day < 24*12 {
			t.Errorf("%d connects in an hour, %d in a day", hour, day)
		}
		b.set(func() { b.greet = nil })
		pause(5 * time.Minute)
		f.publish(t, nil)
	})
	gaps(t, b)
}

// Kicks after ten seconds are no better: only a stable session resets the wait.
func TestSessionResetsTheWaitAfterAStableSessionOnly(t *testing.T) {
	for up, stormy := range map[time.Duration]bool{10 * time.Second: false, takenWindow + time.Minute: true} {
		b := new(broker)
		b.greet = func(c net.Conn) bool { time.AfterFunc(up, func() { c.Close() }); return true }
		run(t, b, nil, func(t *testing.T, f *fixture) {
			pause(24 * time.Hour)
			n := len(b.attempts())
			if stormy && n < 200 || !stormy && n > 800 {
				t.Errorf("connections of %v: %d in a day", up, n)
			}
			if st := f.state(); stormy && st.Attempt > 1 {
				t.Errorf("attempt %d after a stable session", st.Attempt)
			}
		})
		gaps(t, b)
	}
}

func TestSessionSurvivesAChangeStorm(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		for i := range 10000 {
			f.token.Set(fmt.Sprint(i))
			pause(10 * time.Millisecond)
		}
		pause(2 * time.Second)
		if n := len(b.attempts()); n > 110 {
			t.Errorf("%d connects in 100 s", n)
		}
		if got := b.connects[len(b.connects)-1].Username; got != "9999" {
			t.Errorf("online with credential %q, want the newest", got)
		}
		f.publish(t, nil)
	})
	gaps(t, b)
}

func TestSessionReconnectsWhenAsked(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		pause(time.Minute)
		f.Reconnect()
		synctest.Wait()
		if n := len(b.attempts()); n != 2 || f.state().State != Online || f.state().Attempt != 0 {
			t.Errorf("%d connects, status %+v", n, f.state())
		}
		pause(time.Minute)
		b.set(func() { b.code = func(string) byte { return 3 } })
		b.drop()
		pause(30 * time.Minute) // deep in the backoff
		b.set(func() { b.code = nil })
		f.Reconnect()
		pause(minGap)
		f.publish(t, nil)
	})
	gaps(t, b)
}

func TestSessionDialFails(t *testing.T) {
	b := new(broker)
	var up atomic.Bool
	run(t, b, func(f *fixture) {
		f.Dial = func(ctx context.Context) (net.Conn, error) {
			if !up.Load() {
				return nil, errors.New("no route to host")
			}
			return b.Dial(ctx)
		}
	}, func(t *testing.T, f *fixture) {
		if st := f.state(); st.Cause != CauseNetwork || st.Err != "no route to host" || st.Attempt != 1 || st.State != Offline {
			t.Errorf("status = %+v", st)
		}
		f.publish(t, ErrOffline)
		pause(time.Hour)
		up.Store(true)
		pause(5 * time.Minute)
		f.publish(t, nil)
	})
}

func TestSessionDialHangs(t *testing.T) {
	b := new(broker)
	run(t, b, func(f *fixture) {
		f.Dial = func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	}, func(t *testing.T, f *fixture) {
		pause(DefaultTimeout + time.Millisecond)
		if st := f.state(); st.State != Offline || st.Cause != CauseNetwork {
			t.Errorf("status = %+v", st)
		}
	})
}

func TestSessionNoConnack(t *testing.T) {
	b := &broker{raw: []byte{}}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		pause(DefaultTimeout + time.Millisecond)
		if st := f.state(); st.State != Offline || !strings.Contains(st.Err, "CONNACK") {
			t.Errorf("status = %+v", st)
		}
		b.set(func() { b.raw = nil })
		pause(time.Minute)
		f.publish(t, nil)
	})
}

// While a broker lets us wait for CONNACK, a newer credential or the end of Run
// does not have to.
func TestSessionLeavesAnAttemptForANewerCredential(t *testing.T) {
	b := &broker{raw: []byte{}}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		pause(2 * time.Second)
		b.set(func() { b.raw = nil })
		f.token.Set("t2")
		synctest.Wait()
		if st := f.state(); st.State != Online || b.users() != "t1 t2" {
			t.Errorf("users %q, status %+v", b.users(), st)
		}
	})
}

func TestSessionWithoutCredentialWaits(t *testing.T) {
	b := new(broker)
	var good atomic.Bool
	run(t, b, func(f *fixture) {
		credential := f.Credential
		f.Credential = func(ctx context.Context) (Credential, <-chan struct{}, error) {
			c, superseded, err := credential(ctx)
			if !good.Load() {
				c.Username = strings.Repeat("x", maxField+1)
			}
			return c, superseded, err
		}
	}, func(t *testing.T, f *fixture) {
		if st := f.state(); st.Cause != CauseCredential || !strings.Contains(st.Err, "65536 bytes") {
			t.Errorf("status = %+v", st)
		}
		if n := len(b.attempts()); n != 0 {
			t.Errorf("%d CONNECTs with a cut user name", n)
		}
		good.Store(true)
		f.token.Set("t2")
		pause(minGap)
		f.publish(t, nil)
	})
}

func TestSessionLeavesNoGoroutines(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		var before int
		for i := range 101 {
			pause(time.Minute)
			if i == 1 {
				before = runtime.NumGoroutine()
			}
			switch i % 4 {
			case 0:
				f.Reconnect()
			case 1:
				b.drop()
			case 2:
				f.token.Set(fmt.Sprint("t", i))
			case 3:
				b.set(func() { b.silent = true })
				pause(time.Minute)
				b.set(func() { b.silent = false })
			}
		}
		pause(time.Minute)
		f.publish(t, nil)
		if n := len(b.attempts()); n < 100 {
			t.Errorf("%d connects", n)
		}
		pause(time.Second)
		if after := runtime.NumGoroutine(); after > before+1 { // the runtime may have one of its own under way
			t.Errorf("%d goroutines, %d after 100 connections", before, after)
		}
	})
}
