package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// A segment's file is a row of records: the length of the body and its CRC-32C,
// four bytes each, and the body, whose first byte is its kind. Numbers are
// little endian. A file begins with a head and is only ever appended to.
//
// The CRC begins with a random number of the file, its salt, which is in its name:
// behind a damaged record the next one is searched byte by byte, and no program
// can have put one there in the payload of its message.
const (
	kindHead    = 1 // format, watermark
	kindMessage = 2 // sequence, flags, time, topic, payload
	kindMark    = 3 // watermark

	format = 1 // of the files

	frameBytes   = 8                 // length and CRC
	headBytes    = 1 + 1 + 8         // kind, format, watermark
	markBytes    = 1 + 8             // kind, watermark
	messageBytes = 1 + 8 + 1 + 8 + 2 // kind, sequence, flags, Unix seconds, length of the topic

	// maxBody bounds what is read as one record: the largest payload that MQTT
	// programs here may send and the longest topic.
	maxBody = messageBytes + 65535 + MaxPayload

	flagRetain = 1 << 0
	flagLatest = 1 << 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged means that the bytes are no record: cut short, or not as written.
var errDamaged = errors.New("damaged record")

// A record is one that was read. body is valid until the next call.
type record struct {
	kind   byte
	number uint64 // the sequence of a message, else the watermark
	flags  byte
	at     int64 // Unix seconds, 0 if the time was not known
	topic  []byte
	load   []byte // payload
	size   int64  // of the frame in the file
}

// appendFrame appends a record with the body that fill appends.
func appendFrame(b []byte, salt uint32, fill func([]byte) []byte) []byte {
	start := len(b)
	b = fill(append(b, make([]byte, frameBytes)...))
	body := b[start+frameBytes:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Update(salt, castagnoli, body))
	return b
}

func appendHead(b []byte, salt uint32, watermark uint64) []byte {
	return appendFrame(b, salt, func(b []byte) []byte {
		return binary.LittleEndian.AppendUint64(append(b, kindHead, format), watermark)
	})
}

func appendMark(b []byte, salt uint32, watermark uint64) []byte {
	return appendFrame(b, salt, func(b []byte) []byte {
		return binary.LittleEndian.AppendUint64(append(b, kindMark), watermark)
	})
}

func appendMessage(b []byte, salt uint32, seq uint64, m Message, at int64) []byte {
	var flags byte
	if m.Retain {
		flags |= flagRetain
	}
	if m.Latest {
		flags |= flagLatest
	}
	return appendFrame(b, salt, func(b []byte) []byte {
		b = binary.LittleEndian.AppendUint64(append(b, kindMessage), seq)
		b = binary.LittleEndian.AppendUint64(append(b, flags), uint64(at))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(m.Topic)))
		return append(append(b, m.Topic...), m.Payload...)
	})
}

// parse reads a body whose checksum is right.
func parse(body []byte) (r record, err error) {
	r.kind = body[0]
	switch {
	case r.kind == kindHead && len(body) == headBytes:
		if body[1] != format {
			return r, fmt.Errorf("%w: of format %d, this program knows %d", errDamaged, body[1], format)
		}
		r.number = binary.LittleEndian.Uint64(body[2:])
		return r, nil
	case r.kind == kindMark && len(body) == markBytes:
		r.number = binary.LittleEndian.Uint64(body[1:])
		return r, nil
	case r.kind == kindMessage && len(body) >= messageBytes:
		r.number = binary.LittleEndian.Uint64(body[1:])
		r.flags = body[9]
		r.at = int64(binary.LittleEndian.Uint64(body[10:]))
		n := messageBytes + int(binary.LittleEndian.Uint16(body[18:]))
		if n <= len(body) && r.flags&^(flagRetain|flagLatest) == 0 {
			r.topic, r.load = body[messageBytes:n], body[n:]
			return r, nil
		}
	}
	return r, errDamaged
}

func (r record) entry() *Entry {
	e := &Entry{
		Seq: r.number,
		Message: Message{
			Topic: string(r.topic), Payload: append([]byte(nil), r.load...),
			Retain: r.flags&flagRetain != 0, Latest: r.flags&flagLatest != 0,
		},
	}
	if r.at != 0 {
		e.At = time.Unix(r.at, 0)
	}
	return e
}

// A scanner reads the records of a file in order, through a window that does
// not grow with the file.
type scanner struct {
	src  io.ReaderAt
	salt uint32 // of the file
	off  int64  // of the next record
	end  int64  // how far to read
	last uint64 // the newest sequence read

	buf  []byte
	base int64 // of buf in the file
}

const windowBytes = 64 << 10

// peek returns n bytes at off, fewer at the end.
func (s *scanner) peek(n int64) ([]byte, error) {
	n = min(n, s.end-s.off)
	from := s.off - s.base
	if from >= 0 && from+n <= int64(len(s.buf)) {
		return s.buf[from : from+n], nil
	}
	want := min(max(n, windowBytes), s.end-s.off)
	if int64(cap(s.buf)) < want || cap(s.buf) > 2*windowBytes && want <= windowBytes {
		s.buf = make([]byte, want)
	}
	s.buf, s.base = s.buf[:want], s.off
	got, err := s.src.ReadAt(s.buf, s.off)
	s.buf = s.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return s.buf[:min(n, int64(got))], nil
}

// next reads one record. At the end it returns io.EOF; where there is no whole
// one errDamaged, without moving; else the error of reading.
func (s *scanner) next() (record, error) {
	if s.off >= s.end {
		return record{}, io.EOF
	}
	head, err := s.peek(frameBytes)
	if err != nil {
		return record{}, err
	}
	if len(head) < frameBytes {
		return record{}, errDamaged
	}
	n, sum := int64(binary.LittleEndian.Uint32(head)), binary.LittleEndian.Uint32(head[4:])
	if n < markBytes || n > maxBody || s.off+frameBytes+n > s.end {
		return record{}, errDamaged
	}
	frame, err := s.peek(frameBytes + n)
	if err != nil {
		return record{}, err
	}
	if int64(len(frame)) < frameBytes+n || crc32.Update(s.salt, castagnoli, frame[frameBytes:]) != sum {
		return record{}, errDamaged
	}
	r, err := parse(frame[frameBytes:])
	if err == nil && r.kind == kindMessage && r.number <= s.last {
		err = fmt.Errorf("%w: out of order", errDamaged)
	}
	if err != nil {
		return record{}, err
	}
	if r.kind == kindMessage {
		s.last = r.number
	}
	r.size = int64(len(frame))
	s.off += r.size
	return r, nil
}

// whole reads the next record that is whole, over whatever is damaged. lost is
// how many bytes it left out, also before io.EOF.
func (s *scanner) whole() (r record, lost int64, err error) {
	for {
		r, err = s.next()
		if !errors.Is(err, errDamaged) {
			return r, lost, err
		}
		s.off++
		lost++
	}
}
