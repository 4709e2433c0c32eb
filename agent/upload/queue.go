package upload

import (
	"maps"
	"slices"
	"time"
)

// An item is one file in the spool. Its record belongs to the sender; what the
// others need of it is held under the spool's mutex.
type item struct {
	record
	held   bool  // it is being sent or has been announced: not to be dropped
	staged bool  // it waits for its release: not to be sent, and not to be dropped
	bytes  int64 // Size, as counted
	gone   bool  // it has been taken out of the list

	attempt  int       // failures in a row
	notUntil time.Time // of the next attempt
	suspects int       // verdicts of suspect in a row
	sentThen int       // files accepted when the first of them was
	arrived  bool      // all of it is at the cloud, only the files have to go
	doomed   error     // it has to go to quarantine
	unsaved  bool      // the record on disk is older than this one
	dated    time.Time // since when it grows older; zero if that is not known yet
}

// insert makes rec, whose files are whole and durable, an item to be sent. From
// then on it is the sender's.
func (s *spool) insert(rec record) {
	it := &item{record: rec, held: rec.announced(), bytes: rec.Size}
	s.mu.Lock()
	defer s.mu.Unlock()
	it.staged = s.isStaged(rec.Seq)
	i, _ := slices.BinarySearchFunc(s.items, rec.Seq, func(it *item, seq uint64) int {
		return int(int64(it.Seq) - int64(seq))
	})
	s.items = slices.Insert(s.items, i, it)
	s.count(it.Type, 1, it.bytes)
}

// forget takes it out of the list; its files stay.
func (s *spool) forget(it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.items, it); i >= 0 {
		s.items = slices.Delete(s.items, i, i+1)
		s.count(it.Type, -1, -it.bytes)
		it.gone = true
	}
}

// size returns the number of items and of their bytes, and those of each type.
func (s *spool) size() (n int, bytes int64, types map[string]count) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items), s.bytes, maps.Clone(s.counts)
}

// Small files go ahead of large ones while more than behind bytes wait, but not
// more than turns of them in a row.
const (
	small  = 64 << 10
	behind = 4 << 20
	turns  = 16
)

// pick returns the item to send at now, held, or else how long there will be
// none; less than zero if nobody knows, or the spool is empty. Nothing is sent
// before gate, and nothing of a type that barred names. Oldest first, but behind
// all that failed less often: five failures make one rank, so that a file which
// the server cannot digest does not hold up others.
func (s *spool) pick(now, gate time.Time, barred func(typ string) bool) (*item, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *item
	wait := time.Duration(-1)
	hurry := s.bytes > behind && s.smalls < turns
	for _, it := range s.items {
		if it.staged || barred(it.Type) {
			continue
		}
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
		if best == nil || it.before(best, hurry) {
			best = it
		}
	}
	if best == nil {
		return nil, wait
	}
	if s.smalls++; !best.small() {
		s.smalls = 0
	}
	best.held = true
	return best, 0
}

// before reports whether it goes ahead of the older item o.
func (it *item) before(o *item, hurry bool) bool {
	if it.rank() != o.rank() {
		return it.rank() < o.rank()
	}
	return hurry && it.small() && !o.small()
}

// small reports whether little is left to send of it.
func (it *item) small() bool { return it.Size-it.Offset <= small }

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
	s.count(it.Type, 0, it.Size-it.bytes)
	it.bytes = it.Size
}
