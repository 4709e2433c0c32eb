package mqtt

import (
	"encoding/binary"
	"fmt"
	"io"
)

// maxSkip bounds a message that is read for nothing, in bytes.
const maxSkip = 16 << 20

// A sieve takes out of a broker's stream what the library must not see: the
// PUBACKs, which are for our own messages, and messages that are larger than a
// packet may be, which it has acknowledged. To end the connection instead would
// not be rid of those: a broker that keeps one sends it again with each
// connection, before anything else.
type sieve struct {
	src   io.Reader
	max   int    // bytes of a packet, its header included
	alive func() // called for what is taken out, as it comes
	acked func(id uint16)

	// skipped is told of each: bytes is the payload's size, ack the PUBACK to
	// write, nil for QoS 0.
	skipped func(topic string, bytes int, ack []byte)

	held []byte // of a header, to be handed on
	left int    // bytes of the body to be handed on
}

// read hands on bytes of the stream. Messages are left out once greeted.
func (s *sieve) read(p []byte, greeted bool) (n int, err error) {
	for len(s.held) == 0 && s.left == 0 {
		if err := s.next(greeted); err != nil {
			return 0, err
		}
	}
	if len(s.held) > 0 {
		n = copy(p, s.held)
		s.held = s.held[n:]
		return n, nil
	}
	n, err = s.src.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

// next reads a header. What makes no sense is handed on, for frames to judge.
func (s *sieve) next(greeted bool) error {
	h := make([]byte, 1, 5)
	if _, err := io.ReadFull(s.src, h); err != nil {
		return err
	}
	size, more := 0, true
	for shift := 0; more && len(h) < cap(h); shift += 7 {
		h = h[:len(h)+1]
		b := h[len(h)-1:]
		if _, err := io.ReadFull(s.src, b); err != nil {
			return err
		}
		size |= int(b[0]&0x7f) << shift
		more = b[0]&0x80 != 0
	}
	if greeted && h[0] == typePuback<<4 && size == 2 && len(h) == 2 {
		return s.puback()
	}
	qos := h[0] >> 1 & 3
	if !more && greeted && h[0]>>4 == typePublish && qos < 2 && len(h)+size > s.max && size <= maxSkip {
		return s.skip(size, qos)
	}
	s.held, s.left = h, size
	return nil
}

// puback reads the body of a PUBACK.
func (s *sieve) puback() error {
	var id [2]byte
	if _, err := io.ReadFull(s.src, id[:]); err != nil {
		return err
	}
	s.alive()
	s.acked(binary.BigEndian.Uint16(id[:]))
	return nil
}

// skip reads the body of a message, size bytes, of which it keeps the topic and
// the packet id.
func (s *sieve) skip(size int, qos byte) error {
	var word [2]byte
	if _, err := io.ReadFull(s.src, word[:]); err != nil {
		return err
	}
	beside := 2 + 2*int(qos) // the topic's length, the packet id
	topic := make([]byte, binary.BigEndian.Uint16(word[:]))
	payload := size - beside - len(topic)
	if payload < 0 {
		return fmt.Errorf("%w: topic of %d bytes in a PUBLISH of %d", errProtocol, len(topic), size)
	}
	if _, err := io.ReadFull(s.src, topic); err != nil {
		return err
	}
	var ack []byte
	if qos == 1 {
		if _, err := io.ReadFull(s.src, word[:]); err != nil {
			return err
		}
		ack = []byte{typePuback << 4, 2, word[0], word[1]}
	}
	buf := make([]byte, 16<<10)
	for left := payload; left > 0; {
		n, err := s.src.Read(buf[:min(left, len(buf))])
		if left -= n; n > 0 {
			s.alive()
		}
		if err != nil && left > 0 {
			return err
		}
	}
	s.skipped(string(topic), payload, ack)
	return nil
}
