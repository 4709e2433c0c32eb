package mqtt

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
	"github.com/spoke-zone/spoke-zone-agent/mqtt/outbox"
)

func withOutbox(d *powercut.Disk) func(*fixture) {
	return func(f *fixture) { f.Outbox = &outbox.Outbox{Dir: ".", FS: d, MaxBytes: 1 << 20} }
}

// keep publishes a message that must be durable.
func (f *fixture) keep(t *testing.T, payload string, keep Keep) {
	t.Helper()
	if err := f.Publish(t.Context(), Message{Topic: "a", QoS: 1, Payload: []byte(payload), Keep: keep}); err != nil {
		t.Errorf("Publish %s: %v", payload, err)
	}
}

// payloads are those that the broker got, joined; those sent again are marked.
func (b *broker) payloads() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, p := range b.pubs {
		text := string(p.Payload)
		if p.Dup {
			text += "d"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// TestWhatIsPublishedOfflineIsSentLater in order, over a kill of the process.
func TestWhatIsPublishedOfflineIsSentLater(t *testing.T) {
	b, d := &broker{code: func(string) byte { return 3 }}, powercut.New()
	run(t, b, withOutbox(d), func(t *testing.T, f *fixture) {
		for i := range 4 {
			f.keep(t, fmt.Sprint(i), KeepAll)
		}
		f.keep(t, "l1", KeepLatest)
		f.keep(t, "l2", KeepLatest)
		if err := f.Publish(t.Context(), Message{Topic: "a", QoS: 1, Keep: KeepNone}); !errors.Is(err, ErrOffline) {
			t.Errorf("KeepNone offline: %v", err)
		}
		if err := f.Publish(t.Context(), Message{Topic: "a"}); !errors.Is(err, ErrOffline) {
			t.Errorf("QoS 0 offline: %v", err)
		}
		if q := f.Queue(); q.Messages != 5 || q.Superseded != 1 || q.Published != 6 || q.Oldest.IsZero() {
			t.Errorf("queue %+v", q)
		}
	})
	run(t, b, withOutbox(d), func(t *testing.T, f *fixture) {
		pause(time.Second)
		if q := f.Queue(); q.Messages != 5 {
			t.Errorf("before the first connection of another life the queue is %+v", q)
		}
	})
	b.code = nil
	run(t, b, withOutbox(d), func(t *testing.T, f *fixture) {
		f.keep(t, "new", KeepAll)
		pause(time.Second)
		if got := b.payloads(); got != "0 1 2 3 l2 new" {
			t.Errorf("sent %s", got)
		}
		if q := f.Queue(); q.Messages != 0 || q.Delivered != 6 || !q.Oldest.IsZero() {
			t.Errorf("queue %+v", q)
		}
	})
	run(t, b, withOutbox(d), func(t *testing.T, f *fixture) {
		pause(time.Minute)
		if got := b.payloads(); got != "0 1 2 3 l2 new" {
			t.Errorf("sent again: %s", got)
		}
	})
}

// TestUnacknowledgedAreSentAgainAsDuplicates on the next connection, before what
// comes after them, and nothing else is.
func TestUnacknowledgedAreSentAgainAsDuplicates(t *testing.T) {
	b := &broker{noAck: true}
	run(t, b, withOutbox(powercut.New()), func(t *testing.T, f *fixture) {
		f.keep(t, "1", KeepAll)
		f.keep(t, "2", KeepAll)
		pause(5 * time.Second)
		b.set(func() { b.noAck = false })
		b.drop()
		synctest.Wait()
		f.keep(t, "3", KeepAll)
		pause(time.Minute)
		if got := b.payloads(); got != "1 2 1d 2d 3" {
			t.Errorf("sent %s", got)
		}
		if q := f.Queue(); q.Messages != 0 || q.Delivered != 3 {
			t.Errorf("queue %+v", q)
		}
	})
}

// TestWindowIsBounded has a broker that acknowledges nothing: no more than the
// window is sent, and the connection counts as dead after a while.
func TestWindowIsBounded(t *testing.T) {
	b := &broker{noAck: true}
	run(t, b, withOutbox(powercut.New()), func(t *testing.T, f *fixture) {
		for i := range 2 * maxFlights {
			f.keep(t, fmt.Sprint(i), KeepAll)
		}
		pause(time.Second)
		if n := len(b.pubs); n == 0 || n > maxFlights {
			t.Errorf("%d sent", n)
		}
		b.set(func() { b.pubs = nil })
		pause(patiences*DefaultTimeout + 10*time.Second)
		if st := f.state(); st.Connects < 2 {
			t.Errorf("status %+v", st)
		}
		b.set(func() { b.noAck = false })
		pause(5 * time.Minute)
		if q := f.Queue(); q.Messages != 0 || q.Delivered != 2*maxFlights {
			t.Errorf("queue %+v", q)
		}
	})
	gaps(t, b)
}

// TestPoisonedMessageAmongOthersIsFoundOut: the others arrive.
func TestPoisonedMessageAmongOthersIsFoundOut(t *testing.T) {
	b := &broker{code: func(string) byte { return 3 }}
	b.hear = func(p packets.ControlPacket) bool {
		m, ok := p.(*packets.PublishPacket)
		return !ok || string(m.Payload) != "poison"
	}
	run(t, b, withOutbox(powercut.New()), func(t *testing.T, f *fixture) {
		for _, p := range []string{"1", "2", "poison", "3", "4"} {
			f.keep(t, p, KeepAll)
		}
		b.set(func() { b.code = nil })
		pause(time.Hour)
		if q := f.Queue(); q.Messages != 0 || q.Dropped != 1 || q.Delivered != 4 {
			t.Errorf("queue %+v", q)
		}
		if got := b.payloads(); !strings.HasSuffix(got, "3d 4d") {
			t.Errorf("sent %s", got)
		}
	})
}

// TestWithoutADiskTheBrokerTakesOver: nil then means that the broker has it.
func TestWithoutADiskTheBrokerTakesOver(t *testing.T) {
	b, d := new(broker), powercut.New()
	run(t, b, withOutbox(d), func(t *testing.T, f *fixture) {
		f.keep(t, "1", KeepAll)
		synctest.Wait()
		d.Fault(func(string, string) error { return unix.ENOSPC })
		f.keep(t, "2", KeepAll)
		synctest.Wait()
		if got := b.payloads(); got != "1 2" || f.Queue().Err == "" {
			t.Errorf("sent %s, queue %+v", got, f.Queue())
		}
		b.set(func() { b.code = func(string) byte { return 3 } })
		b.drop()
		pause(time.Second)
		err := f.Publish(t.Context(), Message{Topic: "a", QoS: 1})
		if !errors.Is(err, ErrOffline) || !errors.Is(err, outbox.ErrNotDurable) || !errors.Is(err, unix.ENOSPC) {
			t.Errorf("offline as well: %v", err)
		}
		d.Fault(nil)
		pause(2 * time.Second)
		f.keep(t, "3", KeepAll)
		b.set(func() { b.code = nil })
		pause(5 * time.Minute)
		if got := b.payloads(); got != "1 2 3" || f.Queue().Err != "" {
			t.Errorf("sent %s, queue %+v", got, f.Queue())
		}
	})
}

// TestRotationUnderLoadLosesAndRepeatsNothing: many producers, a credential that
// changes every second.
func TestRotationUnderLoadLosesAndRepeatsNothing(t *testing.T) {
	b := new(broker)
	run(t, b, withOutbox(powercut.New()), func(t *testing.T, f *fixture) {
		for i := range 2000 {
			f.keep(t, fmt.Sprint(i), KeepAll)
			if i%200 == 0 {
				f.token.Set(fmt.Sprint("t", i))
			}
			time.Sleep(7 * time.Millisecond)
		}
		pause(time.Minute)
		for i, p := range b.pubs {
			if string(p.Payload) != fmt.Sprint(i) || p.Dup {
				t.Fatalf("message %d is %s, DUP %v", i, p.Payload, p.Dup)
			}
		}
		if len(b.pubs) != 2000 || f.state().Takeovers != 10 {
			t.Errorf("%d PUBLISH, %+v", len(b.pubs), f.state())
		}
	})
}
