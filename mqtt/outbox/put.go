package outbox

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"time"
)

// A batch is what one sync makes durable.
type batch struct {
	bytes   []byte
	entries []place
	keys    []uint64 // hashes of the topics that keep the latest alone, else 0
	load    int64    // topics and payloads
	at      int64    // Unix seconds of the first message, 0 if not known
	done    chan struct{}
	err     error
}

// Put returns nil once m is durable. It returns ErrTooLarge, ErrClosed, or
// ErrNotDurable with what the disk said; then m may still be found after a
// restart. It waits for the disk and for nothing else.
func (o *Outbox) Put(m Message) error {
	if len(m.Topic) > maxTopic || len(m.Payload) > MaxPayload {
		return fmt.Errorf("%w: topic of %d bytes (at most %d), payload of %d (at most %d)", ErrTooLarge, len(m.Topic), maxTopic, len(m.Payload), MaxPayload)
	}
	if need, room := frameSize(m)+frameBytes+headBytes+frameBytes+markBytes, o.maxBytes(); need > room {
		return fmt.Errorf("%w: takes %d bytes (at most %d: the whole outbox)", ErrTooLarge, need, room)
	}
	o.init()
	if err := o.open(); err != nil {
		return err
	}
	for {
		b, joined, err := o.join(m)
		if err != nil {
			return err
		}
		if err := o.sync(b, joined); joined {
			return err
		}
	}
}

// sync waits until b is durable, and makes it so if nobody else is about to.
func (o *Outbox) sync(b *batch, wait bool) error {
	select {
	case <-b.done:
		return b.err
	case o.turn <- struct{}{}:
	}
	defer func() { <-o.turn }()
	select {
	case <-b.done:
		return b.err
	default:
	}
	if wait && o.Window > 0 { // for others to join
		timer := time.NewTimer(o.Window)
		<-timer.C
	}
	o.commit()
	return b.err
}

func frameSize(m Message) int64 {
	return frameBytes + messageBytes + int64(len(m.Topic)+len(m.Payload))
}

// join adds m to what the next sync makes durable, unless that is much already.
func (o *Outbox) join(m Message) (b *batch, joined bool, err error) {
	var at int64
	if now, trusted := o.now(); trusted {
		at = now.Unix()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, false, ErrClosed
	}
	if o.waiting == nil {
		o.waiting = &batch{done: make(chan struct{})}
	}
	b = o.waiting
	if n := int64(len(b.bytes)); n > 0 && n+frameSize(m) > o.segmentBytes() {
		return b, false, nil
	}
	before := len(b.bytes)
	b.bytes = appendMessage(b.bytes, o.salt, o.next, m, at)
	b.entries = append(b.entries, place{seq: o.next, size: int64(len(b.bytes) - before)})
	var key uint64
	if m.Latest {
		key = o.key(m.Topic)
	}
	b.keys = append(b.keys, key)
	b.load += int64(len(m.Topic) + len(m.Payload))
	b.at = cmp.Or(b.at, at)
	o.next++
	return b, true, nil
}

// key names a topic in latest; never 0.
func (o *Outbox) key(topic string) uint64 { return max(maphash.String(o.seed, topic), 1) }

// commit makes the waiting batch durable. The caller holds turn.
func (o *Outbox) commit() {
	o.mu.Lock()
	b := o.waiting
	o.waiting = nil
	err := o.err
	if !time.Now().Before(o.retry) {
		err = nil
	}
	o.mu.Unlock()
	if b == nil {
		return
	}
	if err == nil {
		err = o.store(b)
		o.fault(err)
	}
	if err != nil {
		b.err = fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	close(b.done)
	if err == nil {
		o.ring()
	}
}

// fault remembers how the disk did and logs when that changes.
func (o *Outbox) fault(err error) {
	o.mu.Lock()
	before := o.err
	o.err, o.retry = err, time.Now().Add(retryDisk)
	o.mu.Unlock()
	switch {
	case err != nil && before == nil:
		o.log().Error("outbox: the disk takes no messages", "err", err)
	case err == nil && before != nil:
		o.log().Info("outbox: the disk takes messages again")
	}
}
