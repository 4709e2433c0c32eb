package mqtt

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

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

func TestLibraryLogsNothing(t *testing.T) {
	run(t, new(broker), nil, func(t *testing.T, f *fixture) { f.publish(t, nil) })
	for name, l := range map[string]paho.Logger{"ERROR": paho.ERROR, "CRITICAL": paho.CRITICAL, "WARN": paho.WARN, "DEBUG": paho.DEBUG} {
		if _, off := l.(paho.NOOPLogger); !off {
			t.Errorf("logger %s is on: it prints what it likes", name)
		}
	}
}
