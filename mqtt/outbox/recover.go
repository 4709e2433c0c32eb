package outbox

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

func isDamaged(name string) bool { return strings.HasSuffix(name, suffix+damaged) }

// Open reads what is on disk, so that Status tells of it. Put and Next do so
// when they are first called, and after Open has failed.
func (o *Outbox) Open() error {
	o.init()
	return o.open()
}

// open reads what is on disk, once.
func (o *Outbox) open() error {
	o.mu.Lock()
	done, closed := o.opened, o.closed
	o.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if done {
		return nil
	}
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	o.mu.Lock()
	done = o.opened
	err := o.err
	if !time.Now().Before(o.retry) {
		err = nil
	}
	o.mu.Unlock()
	if done {
		return nil
	}
	if err != nil {
		return err
	}
	if err := o.recover(); err != nil {
		err = fmt.Errorf("%w: %w", ErrNotDurable, err)
		o.fault(err)
		return err
	}
	o.mu.Lock()
	o.opened = true
	o.mu.Unlock()
	o.ring()
	return nil
}

// recover finds the segments, how far each is whole, and what waits in them.
// Every life begins a segment of its own: after what a power cut has left
// nothing is appended.
func (o *Outbox) recover() error {
	names, err := o.fs().List(o.Dir)
	if err != nil {
		return err
	}
	var list []*segment
	var mark, last uint64
	for _, name := range names {
		if strings.HasSuffix(name, suffix+".tmp") { // of a compaction that was cut
			_ = o.fs().Remove(o.path(name))
			continue
		}
		first, salt, ok := parseName(name)
		if !ok {
			continue
		}
		s := &segment{name: name, salt: salt, first: first}
		m, err := o.survey(s)
		if err != nil {
			return err
		}
		mark, last = max(mark, m), max(last, s.last, first-min(first, 1))
		list = append(list, s)
	}
	o.mu.Lock()
	o.list, o.mark, o.read = nil, mark, mark
	clear(o.latest)
	o.next = max(mark, last) + 1
	o.mu.Unlock()
	for _, s := range list {
		if s.last > mark {
			if err := o.count(s); err != nil {
				return err
			}
		}
	}
	waits := slices.ContainsFunc(list, func(s *segment) bool { return s.live > 0 })
	o.mu.Lock()
	o.list = list
	o.mu.Unlock()
	if waits && mark > 0 { // the mark first, then the file that holds it now
		if err := o.renewMark(); err != nil {
			o.fault(err)
			return nil // a disk that takes nothing gives back what it has
		}
	}
	o.sweep()
	return nil
}

// renewMark begins this life's segment with the mark, durably.
func (o *Outbox) renewMark() error {
	if err := o.saveMark(); err != nil {
		return err
	}
	o.mu.Lock()
	s := o.list[len(o.list)-1]
	o.mu.Unlock()
	err := o.file.Sync()
	if err == nil {
		err = o.fs().SyncDir(o.Dir)
	}
	if err != nil {
		return o.abandon(s, err)
	}
	return nil
}

// survey finds how far a segment is whole and the newest mark in it.
func (o *Outbox) survey(s *segment) (mark uint64, err error) {
	f, err := o.fs().Open(o.path(s.name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	sc := scanner{src: f, salt: s.salt, end: size}
	for {
		r, lost, err := sc.whole()
		if errors.Is(err, io.EOF) {
			if lost > 0 {
				o.log().Warn("outbox: end of a file cut off, which was being written when the power failed", "file", s.name, "bytes", lost)
				s.damaged = s.damaged || s.size == 0
			}
			return mark, nil
		}
		if lost > 0 || err != nil {
			s.damaged = true
		}
		if err != nil { // the disk does not give it back: what is before it counts
			o.log().Error("outbox: file not readable to its end", "file", s.name, "err", err)
			return mark, nil
		}
		if lost > 0 {
			o.log().Error("outbox: damaged bytes passed over", "file", s.name, "bytes", lost)
		}
		s.size = sc.off
		switch r.kind {
		case kindMessage:
			s.last = r.number
		default:
			mark = max(mark, r.number)
		}
	}
}

// count finds what waits in a segment.
func (o *Outbox) count(s *segment) error {
	f, err := o.fs().Open(o.path(s.name))
	if err != nil {
		return err
	}
	defer f.Close()
	sc := scanner{src: f, salt: s.salt, end: s.size}
	for {
		r, _, err := sc.whole()
		if err != nil {
			return nil // as far as survey came
		}
		if r.kind != kindMessage || r.number <= o.mark {
			continue
		}
		o.mu.Lock()
		s.live++
		s.alive += r.size
		if s.oldest == 0 {
			s.oldest = r.at
		}
		if r.flags&flagLatest != 0 {
			o.supersede(o.key(string(r.topic)), place{seq: r.number, size: r.size, segment: s})
		}
		o.mu.Unlock()
	}
}
