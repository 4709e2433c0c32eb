package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

func TestPublishIsUnconfirmedThenSentAgain(t *testing.T) {
	for _, clean := range []bool{false, true} {
		b := &broker{noAck: true}
		run(t, b, func(f *fixture) { f.Clean = clean }, func(t *testing.T, f *fixture) {
			time.AfterFunc(5*time.Second, b.drop)
			start := time.Now()
			f.publish(t, ErrUnconfirmed)
			if took := time.Since(start); took != 5*time.Second {
				t.Errorf("Publish took %v, want until the connection ended", took)
			}
			if n := f.state().Pending; n != 1 {
				t.Errorf("%d pending, want 1", n)
			}
			b.set(func() { b.noAck = false })
			pause(time.Minute)
			if n := f.state().Pending; n != 0 || len(b.pubs) != 2 {
				t.Fatalf("%d pending after %d PUBLISH", n, len(b.pubs))
			}
			first, again := b.pubs[0], b.pubs[1]
			if first.Dup || !again.Dup || again.MessageID != first.MessageID || string(again.Payload) != "1" {
				t.Errorf("first %v, then %v", first, again)
			}
			pause(time.Hour)
			f.Reconnect()
			pause(time.Minute)
			if len(b.pubs) != 2 {
				t.Errorf("%d PUBLISH in the end, want 2", len(b.pubs))
			}
		})
	}
}

func TestPublishNeverWaitsForEver(t *testing.T) {
	b := &broker{noAck: true}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		start := time.Now()
		f.publish(t, ErrUnconfirmed)
		if took := time.Since(start); took > DefaultTimeout {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := f.Publish(ctx, Message{Topic: "a", QoS: 1})
		if !errors.Is(err, ErrUnconfirmed) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		if err := f.Publish(ctx, Message{Topic: "a", QoS: 1}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnconfirmed) {
			t.Errorf("with a context that is done: %v", err)
		}
		if n := f.state().Pending; n != 2 {
			t.Errorf("%d pending, want 2", n)
		}
	})
}

// TestPublishThatHangsOverATakeoverThatFails ends nevertheless.
func TestPublishThatHangsOverATakeoverThatFails(t *testing.T) {
	b := &broker{code: func(user string) byte {
		if user == "t1" {
			return 0
		}
		return packets.ErrRefusedNotAuthorised
	}}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		pause(time.Minute)
		stuck := make(chan struct{})
		b.set(func() { b.stuck = stuck })
		ended := make(chan error, 2)
		for range 2 { // the first is read, then the broker reads nothing more
			go func() { ended <- f.Publish(t.Context(), Message{Topic: "a"}) }()
			pause(time.Second)
		}
		f.token.Set("t2")
		pause(2 * DefaultTimeout)
		if n := len(ended); n != 2 || f.state().Refusals == 0 {
			t.Fatalf("%d of 2 have ended, %+v", n, f.state())
		}
		if first, second := <-ended, <-ended; first != nil || !errors.Is(second, ErrOffline) {
			t.Errorf("first %v, then %v", first, second)
		}
		b.set(func() { b.stuck, b.code = nil, nil })
		close(stuck)
		pause(time.Hour)
		f.publish(t, nil)
	})
}

func TestUnacknowledgedMessagesAreBounded(t *testing.T) {
	b := &broker{noAck: true}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		full := 0
		errs := make(chan error)
		for range maxFlights + 10 {
			go func() { errs <- f.Publish(ctx, Message{Topic: "a", QoS: 1, Payload: []byte("x")}) }()
		}
		for range maxFlights + 10 {
			if err := <-errs; errors.Is(err, ErrFull) {
				full++
			} else if !errors.Is(err, ErrUnconfirmed) {
				t.Errorf("err = %v", err)
			}
		}
		if full != 10 || f.state().Pending != maxFlights {
			t.Errorf("%d refused, %d pending", full, f.state().Pending)
		}
		if err := f.Publish(t.Context(), Message{Topic: "a"}); err != nil {
			t.Errorf("QoS 0 is not kept and always fits: %v", err)
		}
		b.set(func() { b.noAck = false })
		f.Reconnect()
		pause(time.Minute)
		if n := f.state().Pending; n != 0 {
			t.Errorf("%d pending after a reconnect, want 0", n)
		}
	})
}

// A message that the broker answers by closing would otherwise keep the session
// down for ever.
func TestPoisonedMessageIsGivenUp(t *testing.T) {
	b := new(broker)
	b.hear = func(p packets.ControlPacket) bool {
		m, ok := p.(*packets.PublishPacket)
		return !ok || m.TopicName != "forbidden"
	}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		if err := f.Publish(t.Context(), Message{Topic: "forbidden", QoS: 1}); !errors.Is(err, ErrUnconfirmed) {
			t.Errorf("err = %v", err)
		}
		pause(time.Hour)
		st := f.state()
		if st.State != Online || st.Pending != 0 || st.Kicks != 1 {
			t.Errorf("status = %+v", st)
		}
		f.publish(t, nil)
	})
}

func TestPublishOrderAcrossConnections(t *testing.T) {
	b := &broker{noAck: true}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		for i := range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			f.Publish(ctx, Message{Topic: "a", QoS: 1, Payload: []byte(fmt.Sprint(i))})
			cancel()
		}
		b.set(func() { b.noAck, b.pubs = false, nil })
		f.Reconnect()
		pause(minGap)
		f.Publish(t.Context(), Message{Topic: "a", QoS: 1, Payload: []byte("20")})
		for i, p := range b.pubs {
			if string(p.Payload) != fmt.Sprint(i) {
				t.Fatalf("PUBLISH %d carries %s", i, p.Payload)
			}
		}
		if len(b.pubs) != 21 {
			t.Errorf("%d PUBLISH, want 21", len(b.pubs))
		}
	})
}

func TestPublishRefusesWhatMQTTCannotCarry(t *testing.T) {
	b := new(broker)
	run(t, b, nil, func(t *testing.T, f *fixture) {
		for _, c := range []struct {
			name string
			m    Message
			want error
		}{
			{"empty topic", Message{}, ErrTopic},
			{"long topic", Message{Topic: strings.Repeat("x", maxField+1)}, ErrTopic},
			{"wildcard", Message{Topic: "a/#"}, ErrTopic},
			{"plus", Message{Topic: "a/+/b"}, ErrTopic},
			{"zero byte", Message{Topic: "a\x00"}, ErrTopic},
			{"control character", Message{Topic: "a\x85"}, ErrTopic},
			{"no character", Message{Topic: "a\ufdd0"}, ErrTopic},
			{"no character of a higher plane", Message{Topic: "a\U0001ffff"}, ErrTopic},
			{"deep", Message{Topic: strings.Repeat("/", maxLevels)}, ErrTopic},
			{"not UTF-8", Message{Topic: "a\xff"}, ErrTopic},
			{"QoS 2", Message{Topic: "a", QoS: 2}, ErrQoS},
			{"large", Message{Topic: "a", Payload: make([]byte, DefaultMaxPacket)}, ErrTooLarge},
			{"longest topic", Message{Topic: strings.Repeat("x", maxField), QoS: 1}, nil},
			{"largest", Message{Topic: "a", QoS: 1, Payload: make([]byte, DefaultMaxPacket-10)}, nil},
			{"empty payload", Message{Topic: "a", QoS: 1}, nil},
			{"slash", Message{Topic: "/", QoS: 1}, nil},
		} {
			if err := f.Publish(t.Context(), c.m); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%s: %.80v, want %v", c.name, err, c.want)
			}
		}
		if len(b.pubs) != 4 {
			t.Errorf("%d PUBLISH, want 4", len(b.pubs))
		}
	})
}
