package upload

import (
	"slices"
	"time"
)

// An item is one file in the spool. Its record belongs to the sender; what the
// others need of it is held under the spool's mutex.
type item struct {
	record
	held  bool  // it is being sent or has been announced: not to be dropped
	bytes int64 // Size, as counted
	gone  bool  // it has been taken out of the list

	attempt  int       // failures in a row
	notUntil time.Time // of the next attempt
	suspects int       // verdicts of suspect in a row
	sentThen int       // files accepted when the first of them was
	arrived  bool      // all of it is at the cloud, only the files have to go
	doomed   error     // it has to go to quarantine
	unsaved  bool      // the record on disk is older than this one
}

// insert makes rec, whose files are whole and durable, an item to be sent. From
// then on it is the sender's.
func (s *spool) insert(rec record) {
	it := &item{record: rec, held: rec.announced(), bytes: rec.Size}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.items, rec.Seq, func(it *item, seq uint64) int {
		return int(int64(it.Seq) - int64(seq))
	})
	s.items = slices.Insert(s.items, i, it)
	s.bytes += it.bytes
}

// forget takes it out of the list; its files stay.
func (s *spool) forget(it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.items, it); i >= 0 {
		s.items = slices.Delete(s.items, i, i+1)
		s.bytes -= it.bytes
		it.gone = true
	}
}

// size returns the number of items and of their bytes.
func (s *spool) size() (n int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items), s.bytes
}

// pick returns the item to send at now, held, or else how long there will be
// none; less than zero if the spool is empty. Nothing is sent before gate.
// Oldest first, but behind all that failed less often: five failures make one
// rank, so that a file which the server cannot digest does not hold up others.
func (s *spool) pick(now, gate time.Time) (*item, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *item
	wait := time.Duration(-1)
	for _, it := range s.items {
		at := it.notUntil
		if gate.After(at) {
			at = gate
		}
		if d := at.Sub(now); d > 0 {
			if wait < 0 || d < wait {
				wait = d
			}
			continue
		}
		if best == nil || it.rank() < best.rank() {
			best = it
		}
	}
	if best == nil {
		return nil, wait
	}
	best.held = true
	return best, 0
}

// postpone keeps it from being sent before until.
func (s *spool) postpone(it *item, until time.Time) {
	s.mu.Lock()
	it.notUntil = until
	s.mu.Unlock()
	s.release(it)
}

func (it *item) rank() int { return it.attempt / 5 }

// release notes what an attempt has changed of it.
func (s *spool) release(it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it.gone {
		return
	}
	it.held = it.announced() || it.arrived || it.doomed != nil
	s.bytes += it.Size - it.bytes
	it.bytes = it.Size
}

// evict drops the oldest items that the cloud has not heard of until need more
// bytes fit, and returns them. It drops none and reports false when even that
// would not make room.
func (s *spool) evict(need int64) (victims []*item, ok bool) {
	s.mu.Lock()
	over, many := s.bytes+need-s.max, len(s.items)-maxItems
	var free int64
	for _, it := range s.items {
		if free >= over && len(victims) >= many {
			break
		}
		if !it.held {
			victims = append(victims, it)
			free += it.bytes
		}
	}
	if ok = free >= over; !ok {
		victims = nil
	}
	s.items = slices.DeleteFunc(s.items, func(it *item) bool { return slices.Contains(victims, it) })
	for _, it := range victims {
		s.bytes -= it.bytes
	}
	s.mu.Unlock()
	for _, it := range victims {
		_ = s.erase(it.Seq) // what cannot be erased comes back at the next start
	}
	return victims, ok
}
