package outbox

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A cursor is the place of the reader.
type cursor struct {
	segment *segment
	version int
	file    atomicfile.Reader
	scanner scanner
}

func (c *cursor) close() {
	if c.file != nil {
		_ = c.file.Close()
	}
	*c = cursor{scanner: scanner{buf: c.scanner.buf[:0]}}
}

// Next returns the oldest messages that wait and were not returned before: at
// most n, and no more once their payloads make up bytes. It returns none when
// there are none; Ready is rung when there are again. It also returns none while
// too many are acknowledged before an earlier one: after Ack there may be more.
// An error means that the outbox cannot be opened; Next may be tried again.
func (o *Outbox) Next(n, bytes int) (found []*Entry, err error) {
	o.init()
	if err := o.open(); err != nil {
		return nil, err
	}
	for len(found) < n && bytes > 0 {
		s, end, version := o.current()
		if s == nil {
			break
		}
		if err := o.seek(s, end, version); err != nil {
			o.unreadable(s, err)
			continue
		}
		r, lost, err := o.cursor.scanner.whole()
		if lost > 0 {
			o.spoilt(s, lost)
		}
		switch {
		case errors.Is(err, io.EOF):
			o.leave(s, end)
		case err != nil:
			o.unreadable(s, err)
		case r.kind == kindMessage:
			if e := o.take(s, r); e != nil {
				found = append(found, e)
				bytes -= len(e.Payload)
			}
		}
	}
	return found, nil
}

// current is the segment in which the next message is, or nil.
func (o *Outbox) current() (s *segment, end int64, version int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.ahead >= maxAhead {
		return nil, 0, 0
	}
	i := slices.IndexFunc(o.list, func(s *segment) bool { return s.last > o.read })
	if i < 0 {
		return nil, 0, 0
	}
	return o.list[i], o.list[i].size, o.list[i].version
}

// seek puts the cursor into s, to read as far as end.
func (o *Outbox) seek(s *segment, end int64, version int) error {
	c := &o.cursor
	if c.segment != s || c.version != version {
		c.close()
		f, err := o.fs().Open(o.path(s.name))
		if err != nil {
			return err
		}
		c.segment, c.version, c.file = s, version, f
		c.scanner = scanner{src: f, salt: s.salt, buf: c.scanner.buf}
	}
	c.scanner.end = end
	return nil
}

// take makes an entry of a record, or nil if it need not be sent.
func (o *Outbox) take(s *segment, r record) *Entry {
	now, trusted := o.now()
	e := r.entry()
	e.segment, e.size = s, r.size
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.Seq <= o.read || e.Seq <= o.mark {
		return nil // before the cursor was put here, or dropped meanwhile
	}
	o.read = e.Seq
	if e.Latest {
		p, known := o.latest[o.key(e.Topic)]
		if known && e.Seq >= p.since && e.Seq < p.seq {
			return nil // counted when it was superseded
		}
	}
	if o.MaxAge > 0 && trusted && !e.At.IsZero() && now.Sub(e.At) > o.MaxAge {
		o.stat.Dropped++
		o.stat.Expired++
		o.finish(e)
		return nil
	}
	o.flying = append(o.flying, e)
	return e
}

// finish takes a message from what waits. The caller holds mu.
func (o *Outbox) finish(e *Entry) {
	e.segment.done(e.size)
	if !e.Latest {
		return
	}
	if key := o.key(e.Topic); o.latest[key].seq == e.Seq {
		delete(o.latest, key)
	}
}

// leave goes on behind s, which was read as far as end.
func (o *Outbox) leave(s *segment, end int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.size == end && s.version == o.cursor.version && s.last > o.read { // what could not be read
		o.read = s.last
		o.forget(s)
	}
}

// forget takes what was not read of s from what waits. The caller holds mu.
func (o *Outbox) forget(s *segment) {
	live := 0
	for _, e := range o.flying {
		if e.segment == s && !e.acked {
			live++
		}
	}
	if s.live > live {
		o.stat.Dropped += int64(s.live - live)
		s.live = live
	}
}

// spoilt notes that bytes in the middle of s are damaged.
func (o *Outbox) spoilt(s *segment, lost int64) {
	o.log().Error("outbox: damaged bytes passed over", "file", s.name, "bytes", lost)
	o.mu.Lock()
	defer o.mu.Unlock()
	s.damaged = true
}

// unreadable gives up what the disk does not give back.
func (o *Outbox) unreadable(s *segment, err error) {
	o.log().Error("outbox: messages lost: the disk does not give them back", "file", s.name, "err", err)
	o.cursor.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	s.damaged = true
	o.read = max(o.read, s.last)
	o.forget(s)
}

// Ack is called when the broker has e, which is deleted then.
func (o *Outbox) Ack(e *Entry) { o.land(e, &o.stat.Delivered) }

// Drop is called when e can never be delivered.
func (o *Outbox) Drop(e *Entry) { o.land(e, &o.stat.Dropped) }

func (o *Outbox) land(e *Entry, count *int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.acked {
		return
	}
	e.acked = true
	o.ahead++
	*count++
	o.finish(e)
	n := 0
	for n < len(o.flying) && o.flying[n].acked {
		o.mark = o.flying[n].Seq
		n++
	}
	o.flying, o.ahead = slices.Delete(o.flying, 0, n), o.ahead-n
}

// Settle writes down what is acknowledged, for a process that is killed, and
// removes the files of which nothing waits. It syncs no message: after a power
// cut what was acknowledged since the last Put may be sent again, as far as its
// file is still there. The reader calls it now and then.
func (o *Outbox) Settle() {
	o.init()
	select {
	case o.turn <- struct{}{}:
	default:
		return // whoever holds it writes the mark as well
	}
	defer func() { <-o.turn }()
	o.settle()
}

// settle is Settle; the caller holds turn.
func (o *Outbox) settle() {
	o.mu.Lock()
	waits, moved, sealed := false, false, o.file == nil
	for _, s := range o.list {
		waits = waits || s.live > 0
	}
	if !sealed {
		moved = o.mark != o.written
	} else {
		moved = waits && o.mark > 0
	}
	failing := o.err != nil && time.Now().Before(o.retry)
	o.mu.Unlock()
	if moved && !failing {
		o.fault(o.saveMark())
	}
	o.sweep()
}

// saveMark appends the mark. The caller holds turn.
func (o *Outbox) saveMark() error {
	o.mu.Lock()
	first := o.next
	if o.waiting != nil {
		first = o.waiting.entries[0].seq
	}
	o.mu.Unlock()
	s, err := o.active(frameBytes+markBytes, first)
	if err != nil {
		return err
	}
	return o.append(s, nil)
}
