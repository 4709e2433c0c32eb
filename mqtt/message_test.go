package mqtt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

func TestMessagesKeepTheirOrderAndTheirFlags(t *testing.T) {
	b := new(broker)
	var got []Message
	run(t, b, func(f *fixture) {
		f.OnMessage = func(m Message) {
			if m.QoS == 1 {
				time.Sleep(time.Millisecond) // slower than they come
			}
			got = append(got, m)
		}
	}, func(t *testing.T, f *fixture) {
		retained := publishOf("base/ctrl/settings", "old", 1, 1)
		retained.Retain = true
		b.send(t, retained)
		for i := 2; i <= 100; i++ {
			b.send(t, publishOf("base/ctrl/x", fmt.Sprint(i), byte(i%2), uint16(i)))
		}
		pause(time.Second)
	})
	if len(got) != 100 || !got[0].Retain || got[0].Topic != "base/ctrl/settings" || string(got[0].Payload) != "old" {
		t.Fatalf("%d messages, first %+v", len(got), got[:min(1, len(got))])
	}
	for i, m := range got[1:] {
		if string(m.Payload) != fmt.Sprint(i+2) || m.Retain || m.QoS != byte(i%2) {
			t.Fatalf("message %d is %+v", i+2, m)
		}
	}
	if want := 50; len(b.acked) != want || !slices.IsSorted(b.acked) {
		t.Errorf("acknowledged %v, want %d in order", b.acked, want)
	}
}

// Publishing and waiting for the PUBACK inside OnMessage deadlocks a client
// that calls it from its reader.
func TestOnMessageMayPublish(t *testing.T) {
	b := new(broker)
	var errs []error
	run(t, b, func(f *fixture) {
		f.OnMessage = func(m Message) {
			errs = append(errs, f.Publish(context.Background(), Message{Topic: "base/mon/echo", QoS: 1, Payload: m.Payload}))
		}
	}, func(t *testing.T, f *fixture) {
		start := time.Now()
		for i := range 20 {
			b.send(t, publishOf("base/ctrl/x", "x", 1, uint16(i+1)))
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 || len(errs) != 20 || errors.Join(errs...) != nil {
			t.Errorf("%d answers in %v: %v", len(errs), took, errors.Join(errs...))
		}
	})
}

// A handler that never ends must not take the connection with it.
func TestStuckOnMessageDropsAndStaysOnline(t *testing.T) {
	b := new(broker)
	run(t, b, func(f *fixture) {
		release := make(chan struct{})
		time.AfterFunc(2*time.Hour, func() { close(release) })
		f.OnMessage = func(Message) { <-release }
	}, func(t *testing.T, f *fixture) {
		for i := range 1000 {
			b.send(t, publishOf("base/ctrl/x", "x", 1, uint16(i+1)))
		}
		pause(time.Hour)
		f.publish(t, nil)
		st := f.state()
		if st.State != Online || st.Connects != 1 || st.Dropped != 1000-1-maxQueued {
			t.Errorf("status = %+v", st)
		}
		if len(b.acked) != 1 {
			t.Errorf("%d messages acknowledged, only 1 was handed over", len(b.acked))
		}
	})
}

func TestInboxIsBoundedInBytes(t *testing.T) {
	b := newInbox()
	big := arrived{Message: Message{Payload: make([]byte, maxQueuedBytes/4)}, ack: func() {}}
	n := 0
	for b.put(big) {
		n++
	}
	if n != 4 {
		t.Errorf("%d messages of a quarter of the limit, want 4", n)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	taken := 0
	b.take(done, func(Message) { taken++ })
	if taken != n || b.bytes.Load() != 0 {
		t.Errorf("%d of %d taken, %d bytes left", taken, n, b.bytes.Load())
	}
	huge := arrived{Message: Message{Payload: make([]byte, 2*maxQueuedBytes)}, ack: func() {}}
	if !b.put(huge) {
		t.Error("one message alone must always fit")
	}
}

func TestImpossibleTopicsOfTheBrokerAreDropped(t *testing.T) {
	b := new(broker)
	run(t, b, func(f *fixture) {
		f.OnMessage = func(m Message) { t.Errorf("got %q", m.Topic) }
	}, func(t *testing.T, f *fixture) {
		for i, topic := range []string{"", "a/#", "a/+/b", "a\xff", "a\x00b"} {
			b.send(t, publishOf(topic, "x", 1, uint16(i+1)))
		}
		synctest.Wait()
		if st := f.state(); st.Dropped != 5 || st.State != Online || len(b.acked) != 5 {
			t.Errorf("%d acknowledged, status %+v", len(b.acked), st)
		}
	})
}

func TestSubscribesAfterEachConnack(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		for range 5 {
			b.drop()
			pause(10 * time.Minute)
		}
		if len(b.subs) != len(b.connects) || len(b.subs) != 6 {
			t.Errorf("%d SUBSCRIBEs for %d CONNECTs", len(b.subs), len(b.connects))
		}
		if s := b.subs[5]; !slices.Equal(s.Topics, []string{"base/ctrl/#"}) || s.Qoss[0] != 1 {
			t.Errorf("SUBSCRIBE %v", s)
		}
	})
}

// withFilters makes the fixture's credential carry filters.
func withFilters(filters ...Filter) func(*fixture) {
	return func(f *fixture) {
		credential := f.Credential
		f.Credential = func(ctx context.Context) (Credential, <-chan struct{}, error) {
			c, superseded, err := credential(ctx)
			c.Filters = filters
			return c, superseded, err
		}
	}
}

func TestRefusedFilters(t *testing.T) {
	b := &broker{suback: func(topic string, qos byte) byte {
		if strings.HasPrefix(topic, "bad") {
			return 0x80
		}
		return qos
	}}
	filters := []Filter{{Topic: "good/#", QoS: 1}, {Topic: "bad/1"}, {Topic: "bad/2", Optional: true}, {Topic: "no/#/way"}, {Topic: "good/#"}}
	run(t, b, withFilters(filters...), func(t *testing.T, f *fixture) {
		if st := f.state(); st.State != Online || !slices.Equal(st.FiltersRefused, []string{"bad/1", "no/#/way"}) {
			t.Errorf("status = %+v", st)
		}
		if n := len(b.subs[0].Topics); n != 3 {
			t.Errorf("%d filters in SUBSCRIBE, want 3", n)
		}
		b.set(func() { b.suback = nil })
		f.Reconnect()
		pause(time.Minute)
		if st := f.state(); !slices.Equal(st.FiltersRefused, []string{"no/#/way"}) {
			t.Errorf("later: status = %+v", st)
		}
	})
}

// A broker that answers a forbidden SUBSCRIBE by closing must not keep us off
// for the sake of an optional filter.
func TestOptionalFiltersThatGetUsKickedAreLeftOut(t *testing.T) {
	b := new(broker)
	b.hear = func(p packets.ControlPacket) bool {
		s, ok := p.(*packets.SubscribePacket)
		return !ok || !slices.Contains(s.Topics, "other/#")
	}
	run(t, b, withFilters(Filter{Topic: "base/#"}, Filter{Topic: "other/#", Optional: true}), func(t *testing.T, f *fixture) {
		pause(10 * time.Minute)
		if st := f.state(); st.State != Online || !st.OptionalLeft || st.Kicks != kicksWithOptional {
			t.Errorf("status = %+v", st)
		}
		b.set(func() { b.hear = nil })
		f.token.Set("t2")
		pause(time.Minute)
		if st := f.state(); st.State != Online || st.OptionalLeft {
			t.Errorf("with the next credential: status = %+v", st)
		}
	})
}

// TestCommandSentAgainRunsOnce: the broker sends again what it has no PUBACK
// for, on the next connection, under the same packet id.
func TestCommandSentAgainRunsOnce(t *testing.T) {
	b := new(broker)
	var got []string
	run(t, b, func(f *fixture) {
		f.OnMessage = func(m Message) { got = append(got, string(m.Payload)) }
	}, func(t *testing.T, f *fixture) {
		send := func(payload string, id uint16, dup bool) {
			p := publishOf("base/ctrl/reboot", payload, 1, id)
			p.Dup = dup
			b.send(t, p)
			synctest.Wait()
		}
		send("1", 7, false)
		f.token.Set("t2")
		pause(2 * time.Second)
		send("1", 7, true)  // again
		send("1", 8, true)  // another, lost on the way before
		send("2", 7, true)  // likewise
		send("1", 7, false) // a new one under a number used again
		pause(2 * recentFor)
		send("1", 7, true) // too late to be the same
		if len(b.acked) != 6 || strings.Join(got, " ") != "1 1 2 1 1" {
			t.Errorf("%d acknowledged, handled %v", len(b.acked), got)
		}
	})
}
