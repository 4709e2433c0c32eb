package mqtt

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"pgregory.net/rapid"
)

// A message above the limit is acknowledged and left out; what comes before and
// after it arrives, on the same connection.
func TestMessagesTooLargeAreLeftOut(t *testing.T) {
	b := new(broker)
	var got []string
	run(t, b, func(f *fixture) {
		f.MaxPacket = 1000
		f.OnMessage = func(m Message) { got = append(got, string(m.Payload)) }
	}, func(t *testing.T, f *fixture) {
		f.publish(t, nil)
		for i, payload := range []string{"before", strings.Repeat("x", 5000), "between", strings.Repeat("y", 70000), "after"} {
			b.send(t, publishOf("c/ctrl/fw", payload, byte(i%2), uint16(i)))
		}
		pause(time.Minute)
		if want := []string{"before", "between", "after"}; !slices.Equal(got, want) {
			t.Errorf("arrived %q, want %q", got, want)
		}
		if st := f.state(); st.Connects != 1 || st.State != Online || st.Dropped != 2 {
			t.Errorf("%+v", st)
		}
		b.set(func() {
			if !slices.Contains(b.acked, 1) || !slices.Contains(b.acked, 3) {
				t.Errorf("acknowledged %v, want 1 and 3 among them", b.acked)
			}
		})
	})
}

func TestSieveLeavesOutTheLargeAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(20, 400).Draw(t, "limit")
		var stream, want bytes.Buffer
		var skipped, large []int
		for range rapid.IntRange(0, 8).Draw(t, "messages") {
			payload := strings.Repeat("p", rapid.IntRange(0, 800).Draw(t, "size"))
			p := publishOf(rapid.StringMatching("[a-z]{1,9}").Draw(t, "topic"), payload, byte(rapid.IntRange(0, 1).Draw(t, "qos")), 7)
			var one bytes.Buffer
			if err := p.Write(&one); err != nil {
				t.Fatal(err)
			}
			stream.Write(one.Bytes())
			if one.Len() > limit {
				large = append(large, len(payload))
			} else {
				want.Write(one.Bytes())
			}
		}
		s := &sieve{src: iotest.HalfReader(&stream), max: limit, alive: func() {}, skipped: func(_ string, n int, _ []byte) { skipped = append(skipped, n) }}
		got, err := io.ReadAll(readerFunc(func(p []byte) (int, error) { return s.read(p, true) }))
		if err != nil || !bytes.Equal(got, want.Bytes()) || !slices.Equal(skipped, large) {
			t.Fatalf("%v; %d bytes of %d; left out %v of %v", err, len(got), want.Len(), skipped, large)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func FuzzSieve(f *testing.F) {
	f.Add([]byte("\x32\x80\x01\x00\x01a\x00\x07"+strings.Repeat("x", 200)), true)
	f.Add([]byte("\x30\xff\xff\xff\x7f"), true)
	f.Add([]byte("\x30\x80\x80\x80\x80\x01"), false)
	f.Add([]byte("\x30\x7f\xff\xff"), true)
	f.Fuzz(func(t *testing.T, data []byte, greeted bool) {
		s := &sieve{src: bytes.NewReader(data), max: 100, alive: func() {}, skipped: func(topic string, n int, ack []byte) {
			if len(topic)+n > len(data) || ack != nil && len(ack) != 4 {
				t.Errorf("left out %d and %d bytes of %d, ack %x", len(topic), n, len(data), ack)
			}
		}}
		out, _ := io.ReadAll(readerFunc(func(p []byte) (int, error) { return s.read(p, greeted) }))
		if len(out) > len(data) {
			t.Errorf("%d bytes made of %d", len(out), len(data))
		}
		if p, err := packets.ReadPacket(bytes.NewReader(data)); !greeted && err == nil && p != nil && len(out) == 0 {
			t.Error("a packet before CONNACK was left out")
		}
	})
}
