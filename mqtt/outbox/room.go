package outbox

import "slices"

// makeRoom has need bytes fit: by removing what is done with, by writing
// segments anew whose messages were mostly superseded, and then at the cost of
// the oldest messages. The caller holds turn.
func (o *Outbox) makeRoom(need int64) {
	for { // each turn removes a segment, or writes one anew that is not sparse then
		o.mu.Lock()
		total := need
		for _, s := range o.list {
			total += s.size
		}
		if total <= o.maxBytes() || len(o.list) == 0 {
			o.mu.Unlock()
			return
		}
		sparse := o.sparse()
		o.mu.Unlock()
		if o.sweep() || sparse != nil && o.compact(sparse) == nil {
			continue
		}
		if !o.sacrifice() {
			return
		}
	}
}

// sealed are the segments that are not appended to. The caller holds mu.
func (o *Outbox) sealed() []*segment {
	if o.file != nil {
		return o.list[:len(o.list)-1]
	}
	return o.list
}

// sparse is a segment, not yet being read, of which less than half waits. The
// caller holds mu.
func (o *Outbox) sparse() *segment {
	for _, s := range o.sealed() {
		if s.first > o.read && s.live > 0 && s.alive*2 < s.size && !s.damaged {
			return s
		}
	}
	return nil
}

// sweep removes the sealed segments in which nothing waits, and reports whether
// there were any.
func (o *Outbox) sweep() bool {
	o.mu.Lock()
	var gone []*segment
	for _, s := range o.sealed() {
		if s.live <= 0 {
			gone = append(gone, s)
		}
	}
	o.mu.Unlock()
	return o.remove(gone...)
}

// sacrifice drops the oldest segment with what waits in it. When all is in the
// one that is appended to, that one is sealed first.
func (o *Outbox) sacrifice() bool {
	if o.file != nil && len(o.list) == 1 {
		_ = o.file.Close()
		o.file = nil
	}
	o.mu.Lock()
	if len(o.list) == 0 {
		o.mu.Unlock()
		return false
	}
	s := o.list[0]
	flying := 0 // sent already
	for _, e := range o.flying {
		if e.segment == s && !e.acked {
			flying++
		}
	}
	lost := s.live - flying
	o.stat.Dropped += int64(lost)
	o.read = max(o.read, s.last)
	o.mu.Unlock()
	if lost > 0 {
		o.log().Warn("outbox is full: its oldest messages are lost", "messages", lost)
	}
	return o.remove(s)
}

// remove takes segments from the list and from the disk, where a damaged one is
// set aside.
func (o *Outbox) remove(gone ...*segment) bool {
	if len(gone) == 0 {
		return false
	}
	o.mu.Lock()
	o.list = slices.DeleteFunc(o.list, func(s *segment) bool { return slices.Contains(gone, s) })
	for key, p := range o.latest {
		if slices.Contains(gone, p.segment) {
			delete(o.latest, key)
		}
	}
	o.mu.Unlock()
	for _, s := range gone {
		var err error
		if s.damaged {
			err = o.setAside(s.name)
		} else {
			err = o.fs().Remove(o.path(s.name))
		}
		if err != nil {
			o.log().Warn("outbox: file not removed", "err", err)
		}
	}
	// Until this a power cut may bring them back, with messages that the broker has.
	if err := o.fs().SyncDir(o.Dir); err != nil {
		o.log().Warn("outbox: removal not durable", "err", err)
	}
	return true
}

// setAside renames a damaged file, of which a few are kept.
func (o *Outbox) setAside(name string) error {
	names, err := o.fs().List(o.Dir)
	if err != nil {
		return err
	}
	old := slices.DeleteFunc(names, func(n string) bool { return !isDamaged(n) })
	for len(old) >= quarantined {
		if err := o.fs().Remove(o.path(old[0])); err != nil {
			return err
		}
		old = old[1:]
	}
	o.mu.Lock()
	o.stat.Quarantined++
	o.mu.Unlock()
	o.log().Warn("outbox: damaged file set aside", "file", name+damaged)
	return o.fs().Rename(o.path(name), o.path(name+damaged))
}
