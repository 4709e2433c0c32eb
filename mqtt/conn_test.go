package mqtt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"pgregory.net/rapid"
)

// A stream is a net.Conn that reads fixed bytes in chunks of given sizes.
type stream struct {
	net.Conn
	data   []byte
	chunks []byte
	at     int
}

func (s *stream) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := len(s.data)
	if len(s.chunks) > 0 {
		n = int(s.chunks[s.at%len(s.chunks)])%len(s.data) + 1
		s.at++
	}
	n = copy(p, s.data[:min(n, len(s.data))])
	s.data = s.data[n:]
	return n, nil
}

func (s *stream) Close() error { return nil }

// firstBad reads the whole stream at once and returns where the first packet
// that must not be read begins, and where its badness shows: at the end of its
// header or in its body. Without one both are the length of data.
func firstBad(data []byte, limit, filters int) (begins, shows int) {
	for at := 0; at < len(data); {
		size, i := 0, at+1
		for ; ; i++ {
			if i >= len(data) {
				return len(data), len(data)
			}
			if i > at+4 {
				return at, i
			}
			size |= int(data[i]&0x7f) << (7 * (i - at - 1))
			if data[i]&0x80 == 0 {
				break
			}
			if i == at+4 {
				return at, i
			}
		}
		body := data[i+1 : min(len(data), i+1+size)]
		kind, qos := data[at]>>4, data[at]>>1&3
		beside := 2
		if qos > 0 {
			beside = 4
		}
		switch ok := map[byte]bool{
			2: size == 2, 3: qos < 3 && size >= beside, 4: size == 2, 5: size == 2, 6: size == 2, 7: size == 2,
			9: size >= 3 && size <= 2+filters, 11: size == 2, 13: size == 0,
		}; {
		case i+1-at+size > limit, !ok[kind], (at == 0) != (kind == 2):
			return at, i
		case len(body) >= 2 && kind == 2 && body[1] > 5,
			len(body) >= 2 && kind == 3 && int(body[0])<<8+int(body[1])+beside > size:
			return i + 2, i + 2
		}
		at = i + 1 + size
	}
	return len(data), len(data)
}

// pour reads c until its error, with a buffer of n bytes.
func pour(c io.Reader, n int) ([]byte, error) {
	var out []byte
	p := make([]byte, n)
	for {
		n, err := c.Read(p)
		out = append(out, p[:n]...)
		if err != nil {
			return out, err
		}
	}
}

// FuzzLimitConn: whatever the broker sends and however it is cut, the library
// gets a prefix of it, unchanged, that ends before the first bad packet; and it
// can decode that prefix without panic or large memory.
func FuzzLimitConn(f *testing.F) {
	ok := "\x20\x02\x00\x00"
	f.Add([]byte(ok+"\x90\x03\x00\x01\x00\xd0\x00\x30\x05\x00\x01ahi"), []byte{0, 3, 9}, byte(1))
	f.Add([]byte(ok+"\x30\xff\xff\xff\x7f"), []byte{}, byte(7))
	f.Add([]byte(ok+"\x30\x80\x80\x80\x80\x01"), []byte{1}, byte(255))
	f.Add([]byte(ok+"\x32\x05\x00\x09a\x00\x01"), []byte{1, 1, 30}, byte(2))
	f.Add([]byte(ok+"\x90\x06\x00\x01\x00\x00\x00\x80"), []byte{2}, byte(3))
	f.Add([]byte("\x20\x02\x00\xfe"), []byte{4}, byte(1))
	f.Fuzz(func(t *testing.T, data, chunks []byte, buffer byte) {
		const limit, filters = 300, 2
		c := newConn(&stream{data: data, chunks: chunks}, limits{packet: limit, filters: filters})
		out, err := pour(c, int(buffer)+1)
		if !bytes.HasPrefix(data, out) {
			t.Fatalf("changed bytes: %x became %x", data, out)
		}
		begins, shows := firstBad(data, limit, filters)
		if len(out) > shows || len(out) < min(begins, shows) {
			t.Errorf("%d bytes passed of %x, want %d to %d", len(out), data, begins, shows)
		}
		bad := errors.Is(err, errProtocol) || errors.Is(err, errPacketTooLarge)
		if bad != (shows < len(data)) {
			t.Errorf("error %v for %x", err, data)
		}
		if _, again := c.Read(make([]byte, 1)); again == nil {
			t.Error("read goes on after the error")
		}
		for r := bytes.NewReader(out); ; {
			p, err := packets.ReadPacket(r)
			if err != nil {
				break
			}
			if s, isSuback := p.(*packets.SubackPacket); isSuback && len(s.ReturnCodes) > filters {
				t.Errorf("SUBACK with %d codes passed", len(s.ReturnCodes))
			}
		}
	})
}

// FuzzBroker: a whole session survives whatever follows CONNECT, and comes back
// online when the broker behaves again.
func FuzzBroker(f *testing.F) {
	for _, raw := range []string{
		"\x20\x02\x00\x00", "\x20\x02\x01\x00\x90\x03\x00\x01\x01", "\x20\x02\x00\x00\x90\x03\x00\x01\x01\x32\x06\x00\x01a\x00\x01x",
		"\x20\x02\x00\x00\x90\x03\x00\x01\x01\x34\x06\x00\x01a\x00\x01x\x62\x02\x00\x01", "\x20\x02\x00\x00\x40\x02\x00\x01\x40\x02\x00\x01\x50\x02\x00\x01",
		"\x20\x02\x00\x00\xb0\x02\x00\x01\x70\x02\x00\x01\x90\x03\x00\x01\x80\x90\x03\x00\x01\x00", "\x20\x02\x00\x05",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := &broker{raw: raw, silent: true}
		run(t, b, func(f *fixture) { f.OnMessage = func(Message) {} }, func(t *testing.T, f *fixture) {
			f.Publish(t.Context(), Message{Topic: "a", QoS: 1})
			time.Sleep(2 * time.Minute)
			b.set(func() { b.raw, b.silent = nil, false })
			f.Reconnect()
			time.Sleep(10 * time.Minute)
			f.publish(t, nil)
		})
	})
}

func TestFramesInEveryChunking(t *testing.T) {
	stream := []byte("\x20\x02\x00\x00\x90\x04\x00\x01\x00\x80\xd0\x00\x30\x05\x00\x01ahi\x40\x02\x00\x07\x32\x8c\x01\x00\x01a\x00\x01")
	stream = append(stream, make([]byte, 0x8c-5)...)
	for n := 1; n <= len(stream); n++ {
		f := frames{max: 300, filters: 2}
		for at := 0; at < len(stream); at += n {
			part := stream[at:min(at+n, len(stream))]
			if got, err := f.pass(part); got != len(part) || err != nil {
				t.Fatalf("chunks of %d: %d of %d bytes at %d passed: %v", n, got, len(part), at, err)
			}
		}
		if f.left != 0 || f.header != 0 {
			t.Errorf("chunks of %d: ends inside a packet", n)
		}
	}
}

func TestPacketLimitIsExact(t *testing.T) {
	for size, want := range map[int]error{300: nil, 301: errPacketTooLarge} {
		p := publishOf("a", string(make([]byte, size-6)), 0, 0)
		var b bytes.Buffer
		b.WriteString("\x20\x02\x00\x00")
		p.Write(&b)
		if got := b.Len() - 4; got != size {
			t.Fatalf("packet of %d bytes, want %d", got, size)
		}
		f := frames{max: 300}
		n, err := f.pass(b.Bytes())
		if !errors.Is(err, want) || want != nil && n != 4 {
			t.Errorf("%d bytes: %d passed, err %v, want %v", size, n, err, want)
		}
	}
}

func TestPatchConnect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
		in.ProtocolName, in.ProtocolVersion = "MQTT", 4
		in.ClientIdentifier = rapid.String().Draw(t, "id")
		in.Username = string(rapid.SliceOfN(rapid.Byte(), 0, 20000).Draw(t, "user")) // one to three bytes of length
		in.UsernameFlag = in.Username != ""
		if in.UsernameFlag {
			in.Password, in.PasswordFlag = []byte("x"), true
		}
		clean := rapid.Bool().Draw(t, "clean")
		keep := time.Duration(rapid.Int64Range(-1, int64(100000*time.Second)).Draw(t, "keep"))
		var b bytes.Buffer
		if err := in.Write(&b); err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(b.Bytes())
		patched, err := patchConnect(b.Bytes(), keep, clean)
		if err != nil || !bytes.Equal(before, b.Bytes()) {
			t.Fatalf("patchConnect: %v, or it changed the caller's bytes", err)
		}
		p, err := packets.ReadPacket(bytes.NewReader(patched))
		if err != nil {
			t.Fatal(err)
		}
		out := p.(*packets.ConnectPacket)
		if out.CleanSession != clean || out.Keepalive != keepSeconds(keep) {
			t.Errorf("clean %v, keep alive %d", out.CleanSession, out.Keepalive)
		}
		if out.ClientIdentifier != in.ClientIdentifier || out.Username != in.Username || string(out.Password) != string(in.Password) {
			t.Error("the patch changed another field")
		}
	})
}

func TestPatchConnectRefusesOtherPackets(t *testing.T) {
	for _, p := range []string{"", "\x10", "\x10\xff\xff\xff\xff\xff", "\xc0\x00", "\x10\x0c\x00\x06MQIsdp\x03\x02\x00\x00", "\x10\x0a\x00\x04MQTT\x05\x02\x00\x00"} {
		if out, err := patchConnect([]byte(p), time.Second, true); !errors.Is(err, errProtocol) {
			t.Errorf("patchConnect(%q) = %q, %v", p, out, err)
		}
	}
}
