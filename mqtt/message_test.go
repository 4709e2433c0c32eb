package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
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

func TestUnacknowledgedMessagesAreBounded(t *testing.T) {
	b := &broker{noAck: true}
	run(t, b, nil, func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		full := 0
		errs := make(chan error)
		for range maxUnacked + 10 {
			go func() { errs <- f.Publish(ctx, Message{Topic: "a", QoS: 1, Payload: []byte("x")}) }()
		}
		for range maxUnacked + 10 {
			if err := <-errs; errors.Is(err, ErrFull) {
				full++
			} else if !errors.Is(err, ErrUnconfirmed) {
				t.Errorf("err = %v", err)
			}
		}
		if full != 10 || f.state().Pending != maxUnacked {
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
		if st.State != Online || st.Pending != 0 || st.Kicks != maxKicks {
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

func TestGarbageFromTheBroker(t *testing.T) {
	connack := "\x20\x02\x00\x00"
	for name, c := range map[string]struct{ raw, cause string }{
		"HTTP":                   {"HTTP/1.1 400 Bad Request\r\n\r\n", CauseProtocol},
		"256 MiB in five bytes":  {"\x30\xff\xff\xff\x7f", CauseProtocol},
		"the same after CONNACK": {connack + "\x30\xff\xff\xff\x7f", CauseProtocol},
		"endless length":         {connack + "\x30\xff\xff\xff\xff\x01", CauseProtocol},
		"unknown code":           {"\x20\x02\x00\x06", CauseProtocol},
		"library's own code":     {"\x20\x02\x00\xfe", CauseProtocol},
		"PUBLISH first":          {"\x30\x03\x00\x01a", CauseProtocol},
		"two CONNACKs":           {connack + connack, CauseProtocol},
		"long CONNACK":           {"\x20\x03\x00\x00\x00", CauseProtocol},
		"SUBACK that panics":     {connack + "\x90\x04\x00\x01\x00\x00", CauseProtocol},
		"SUBACK without codes":   {connack + "\x90\x02\x00\x01", CauseProtocol},
		"QoS 3":                  {connack + "\x36\x05\x00\x01a\x00\x01", CauseProtocol},
		"a client's packet":      {connack + "\x82\x06\x00\x01\x00\x01a\x00", CauseProtocol},
		"reserved type":          {connack + "\xf0\x00", CauseProtocol},
		"topic beyond the end":   {connack + "\x30\x03\x00\x09a", CauseProtocol},
		"no packet id":           {connack + "\x32\x03\x00\x01a", CauseProtocol},
		"no topic":               {connack + "\x30\x01\x00", CauseProtocol},
		"half a CONNACK":         {"\x20\x02", CauseNetwork},
		"PUBACK nobody expects":  {connack + "\x40\x02\x00\x07", CauseSilent}, // harmless; then no SUBACK
		"PUBACK of SUBSCRIBE":    {connack + "\x40\x02\x00\x01", "either"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &broker{raw: []byte(c.raw), silent: true}
			run(t, b, func(f *fixture) { f.OnMessage = func(Message) {} }, func(t *testing.T, f *fixture) {
				pause(DefaultTimeout + time.Millisecond)
				if st := f.state(); st.Cause != c.cause && c.cause != "either" {
					t.Errorf("cause %q, want %q: %+v", st.Cause, c.cause, st)
				}
				b.set(func() { b.raw, b.silent = nil, false })
				b.drop()
				pause(5 * time.Minute)
				f.publish(t, nil)
			})
		})
	}
}

// One Write of the library is one packet: the ping goes between two of them.
func TestLibraryWritesOnePacketACall(t *testing.T) {
	b := new(broker)
	var writes [][]byte
	run(t, b, func(f *fixture) {
		f.OnMessage = func(Message) {}
		f.Dial = func(ctx context.Context) (net.Conn, error) {
			c, err := b.Dial(ctx)
			return recorder{c, &writes}, err
		}
	}, func(t *testing.T, f *fixture) {
		f.publish(t, nil)
		f.Publish(t.Context(), Message{Topic: "a", Payload: make([]byte, 20000)})
		b.send(t, publishOf("a", "x", 1, 9))
		b.send(t, publishOf("a", "x", 2, 10))
		pause(time.Minute)
	})
	kinds := make(map[byte]bool)
	for _, w := range writes {
		f := frames{max: DefaultMaxPacket}
		size, shift, i := 0, 0, 1
		for ; ; i++ {
			size |= int(w[i]&0x7f) << shift
			shift += 7
			if w[i]&0x80 == 0 {
				break
			}
		}
		if len(w) != i+1+size || f.err != nil {
			t.Errorf("a write of %d bytes holds a packet of %d", len(w), i+1+size)
		}
		kinds[w[0]>>4] = true
	}
	for _, want := range []byte{typeConnect, typePublish, typePuback, typePubrec, 8, 12, 14} {
		if !kinds[want] {
			t.Errorf("no packet of type %d was written", want)
		}
	}
}

type recorder struct {
	net.Conn
	writes *[][]byte
}

func (r recorder) Write(p []byte) (int, error) {
	*r.writes = append(*r.writes, slices.Clone(p))
	return r.Conn.Write(p)
}
