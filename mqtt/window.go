package mqtt

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/spoke-zone/spoke-zone-agent/mqtt/outbox"
)

const (
	maxFlights     = 256       // messages of QoS 1 without a PUBACK
	maxFlightBytes = 256 << 10 // of their packets, if there is more than one of the outbox
	maxMemoryBytes = 4 << 20   // of those that are in memory alone
	maxKicks       = 5         // connections a message may end before it is given up

	// firstID leaves the packet ids below to the library, which numbers its
	// SUBSCRIBE from 1 on.
	firstID = 1024
)

// A flight is a message of QoS 1 that the broker has not acknowledged.
type flight struct {
	id      uint16
	packet  []byte
	topic   string
	entry   *outbox.Entry // nil if it is in memory alone
	done    chan struct{} // closed by PUBACK
	link    *link         // the connection that carries it, or is about to
	written bool          // some connection has carried it
	kicks   int
}

// A window is the messages of QoS 1 on their way, from connection to
// connection, in the order of their publishing and under their packet ids
// (MQTT 3.1.1, section 4.4).
type window struct {
	mu     sync.Mutex
	list   []*flight
	bytes  int
	memory int // bytes of those that are in memory alone
	last   uint16
	wary   bool          // one at a time: one of them may be what the broker answers by closing
	freed  chan struct{} // rung by each PUBACK
	land   func(e *outbox.Entry, given bool)
}

func (w *window) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.list)
}

// room is how many messages of the outbox may be added now, and how many bytes.
func (w *window) room() (messages, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.list)
	switch {
	case w.wary && n == 0:
		return 1, 1
	case w.wary, n > maxFlights/2: // not one by one
		return 0, 0
	}
	return maxFlights - n, maxFlightBytes - w.bytes
}

// add takes m in under a new packet id; whoever calls it writes it to l. It
// returns nil if m is in memory alone and there is no room.
func (w *window) add(l *link, m Message, e *outbox.Entry) *flight {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e == nil && (len(w.list) >= maxFlights || w.memory > 0 && w.memory+len(m.Payload) > maxMemoryBytes) {
		return nil
	}
	for {
		w.last++
		if w.last < firstID {
			w.last = firstID
		}
		if !slices.ContainsFunc(w.list, func(f *flight) bool { return f.id == w.last }) {
			break
		}
	}
	f := &flight{id: w.last, link: l, topic: m.Topic, entry: e, done: make(chan struct{})}
	f.packet = appendPublish(nil, m, f.id)
	w.list = append(w.list, f)
	w.count(f, 1)
	return f
}

func (w *window) count(f *flight, sign int) {
	w.bytes += sign * len(f.packet)
	if f.entry == nil {
		w.memory += sign * len(f.packet)
	}
}

// ack takes out the message that a PUBACK names. Unknown ids mean nothing.
func (w *window) ack(id uint16) {
	w.mu.Lock()
	i := slices.IndexFunc(w.list, func(f *flight) bool { return f.id == id && f.written })
	if i < 0 {
		w.mu.Unlock()
		return
	}
	f := w.list[i]
	w.list = slices.Delete(w.list, i, i+1)
	w.count(f, -1)
	w.mu.Unlock()
	close(f.done)
	if f.entry != nil {
		w.land(f.entry, false)
	}
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

// unsent takes the messages that l has not carried, in order. A wary window
// gives the first alone, and only when none is on its way.
func (w *window) unsent(l *link) (list []*flight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.list {
		if f.link == l {
			if w.wary {
				return nil
			}
			continue
		}
		f.link = l
		list = append(list, f)
		if w.wary {
			return list
		}
	}
	return list
}

// write is the packet of f for a connection that is about to carry it: a
// duplicate if one before it may have.
func (w *window) write(f *flight) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !f.written {
		f.written = true
		return f.packet
	}
	p := slices.Clone(f.packet)
	p[0] |= flagDup
	return p
}

// careful reports whether the window is wary.
func (w *window) careful() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wary
}

// trust ends the wariness: the connection has outlived a kick with a message.
func (w *window) trust() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wary = false
}

// ended takes into account that the broker closed a connection, kicked if right
// after CONNACK. What that carried first may be what the broker answers by
// closing, and would do so for ever: so the next connections carry nothing until
// they have outlived a kick, and then one message at a time. One that is on its
// way when such a connection ends, again and again, is given up. A broker that
// closes every connection costs no message.
func (w *window) ended(l *link, kicked bool) (givenUp string, ok bool) {
	w.mu.Lock()
	if len(w.list) == 0 || !w.list[0].written {
		w.mu.Unlock()
		return "", false
	}
	f := w.list[0]
	if w.wary && f.link == l {
		f.kicks++
	}
	w.wary = w.wary || kicked
	if f.kicks < maxKicks {
		w.mu.Unlock()
		return "", false
	}
	w.list = slices.Delete(w.list, 0, 1)
	w.count(f, -1)
	w.mu.Unlock()
	if f.entry != nil {
		w.land(f.entry, true)
	}
	return f.topic, true
}

const (
	flagRetain = 0x01
	flagDup    = 0x08
)

// appendPublish appends a PUBLISH packet (MQTT 3.1.1, section 3.3). A message of
// QoS 0 has no id.
func appendPublish(b []byte, m Message, id uint16) []byte {
	first := byte(typePublish<<4) | m.QoS<<1
	if m.Retain {
		first |= flagRetain
	}
	size := 2 + len(m.Topic) + len(m.Payload)
	if m.QoS > 0 {
		size += 2
	}
	if b == nil {
		b = make([]byte, 0, 5+size)
	}
	b = append(b, first)
	for n := size; ; {
		digit := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b = append(b, digit|0x80)
			continue
		}
		b = append(b, digit)
		break
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Topic)))
	b = append(b, m.Topic...)
	if m.QoS > 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return append(b, m.Payload...)
}
