package mqtt

import "fmt"

// Packet types and sizes of MQTT 3.1.1, section 2.2, as far as a broker sends
// them.
const (
	typeConnect  = 1
	typeConnack  = 2
	typePublish  = 3
	typePuback   = 4
	typePubrec   = 5
	typePubrel   = 6
	typePubcomp  = 7
	typeSuback   = 9
	typeUnsuback = 11
	typePingresp = 13
)

// frames follows the fixed headers of a broker's byte stream, wherever its
// chunks are cut, and finds the first place where it must not be read on.
//
// The library under us trusts a broker: five bytes make it allocate 256 MiB, a
// SUBACK with too many codes makes it panic, and an unknown CONNACK code counts
// as success. So every packet is checked before the library has its header.
type frames struct {
	max     int // bytes of one packet, its header included
	filters int // how many the SUBSCRIBE of this connection has

	greeted bool // CONNACK has been seen
	kind    byte // of the packet being read
	flags   byte
	header  int // bytes of its header read, 0 between packets
	size    int // its remaining length as far as it is known
	left    int // bytes of its body still to come
	body    int // bytes of its body read
	word    int // the first two of them
	err     error
}

// pass returns how many bytes of p may be handed on: all of them, or those
// before a packet that breaks the rules, with the reason. The reason stays.
func (f *frames) pass(p []byte) (int, error) {
	start := 0 // of the header being read, or of p if it began before p
	for i := 0; i < len(p) && f.err == nil; {
		if f.left > 0 {
			n := min(f.left, len(p)-i)
			if bad := f.checkBody(p[i : i+n]); bad >= 0 {
				return i + bad, f.err
			}
			f.left -= n
			f.body += n
			i += n
			continue
		}
		if f.header == 0 {
			start = i
			f.kind, f.flags, f.size, f.body = p[i]>>4, p[i]&0x0f, 0, 0
			f.header = 1
			i++
			continue
		}
		f.size |= int(p[i]&0x7f) << (7 * (f.header - 1))
		f.header++
		more := p[i]&0x80 != 0
		switch {
		case more && f.header == 5:
			f.err = fmt.Errorf("%w: length of more than four bytes", errProtocol)
		case !more:
			if f.err = f.checkHeader(); f.err == nil {
				f.left, f.header = f.size, 0
			}
		}
		i++
	}
	if f.err != nil {
		return start, f.err
	}
	return len(p), nil
}

// checkHeader judges a complete fixed header.
func (f *frames) checkHeader() error {
	if total := f.header + f.size; total > f.max {
		return fmt.Errorf("%w: %d bytes (at most %d)", errPacketTooLarge, total, f.max)
	}
	if f.greeted == (f.kind == typeConnack) {
		return fmt.Errorf("%w: packet type %d out of turn", errProtocol, f.kind)
	}
	want := f.size // of the remaining length
	switch f.kind {
	case typeConnack:
		f.greeted = true
		want = 2
	case typePuback, typePubrec, typePubrel, typePubcomp, typeUnsuback:
		want = 2
	case typePingresp:
		want = 0
	case typeSuback:
		if n := f.size - 2; n < 1 || n > f.filters {
			return fmt.Errorf("%w: SUBACK with %d codes for %d filters", errProtocol, n, f.filters)
		}
	case typePublish:
		if f.qos() == 3 {
			return fmt.Errorf("%w: PUBLISH with QoS 3", errProtocol)
		}
		want = max(want, f.beside())
	default:
		return fmt.Errorf("%w: packet type %d", errProtocol, f.kind)
	}
	if f.size != want {
		return fmt.Errorf("%w: packet type %d with %d bytes (%d)", errProtocol, f.kind, f.size, want)
	}
	return nil
}

// checkBody judges the next bytes of a body, as far as they matter: the code of
// a CONNACK and the length of a PUBLISH's topic, which are the first two bytes.
// It returns the place of a bad byte, or -1.
func (f *frames) checkBody(p []byte) int {
	for i := 0; i < len(p) && f.body+i < 2; i++ {
		if f.body+i == 0 {
			f.word = int(p[i])
			continue
		}
		f.word = f.word<<8 | int(p[i])
		switch {
		case f.kind == typeConnack && p[i] > 5:
			f.err = fmt.Errorf("%w: CONNACK with code %d", errProtocol, p[i])
			return i
		case f.kind == typePublish && f.word+f.beside() > f.size:
			f.err = fmt.Errorf("%w: topic of %d bytes in a PUBLISH of %d", errProtocol, f.word, f.size)
			return i
		}
	}
	return -1
}

// qos is that of a PUBLISH.
func (f *frames) qos() byte { return f.flags >> 1 & 3 }

// beside is what the body of a PUBLISH has beside topic and payload.
func (f *frames) beside() int {
	if f.qos() > 0 {
		return 4 // length of the topic, packet id
	}
	return 2
}
