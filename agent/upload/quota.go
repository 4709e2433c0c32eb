package upload

import (
	"errors"
	"slices"
	"time"
)

// A Quota bounds the files of one type in the spool. Zeros are no bounds.
type Quota struct {
	Bytes int64
	Files int
	Age   time.Duration // since the file came into the spool, by a clock that is right
	Gzip  bool          // files are sent compressed, as NAME.gz
}

// importance is the order in which the types may use the month's bytes and the
// spool's room: what the gateway was built to tell comes before what helps to
// mend it.
var importance = []string{"event", "gps", "log", "txt", "journal", "dmesg", "debug"}

// weight is the place of typ in importance.
func weight(typ string) int { return slices.Index(importance, typ) }

// reserve is the share of the month's bytes, in percent, that a type leaves to
// more important ones.
func reserve(typ string) int64 {
	switch typ {
	case "event", "gps":
		return 0
	case "log", "txt":
		return 10
	}
	return 30
}

// A count is what there is of a type in the spool.
type count struct {
	files int
	bytes int64
}

// count adds n files of size bytes each to the counts of typ.
func (s *spool) count(typ string, n int, size int64) {
	c := s.counts[typ]
	c.files += n
	c.bytes += size
	s.counts[typ] = c
	s.bytes += size
}

// evict makes room for need more bytes of a file of type typ, or of none if typ
// is empty: the oldest of the type go while it is beyond its quota, then the
// oldest of the least important type while the spool is too full, but nothing
// more important than typ, and nothing that the cloud has heard of. Where even
// that would not make room it drops none and reports false.
func (s *spool) evict(need int64, typ string) (victims []*item, ok bool) {
	s.mu.Lock()
	gone := map[*item]bool{}
	drop := func(from string, over int64, many int) bool {
		for _, it := range s.items {
			if over <= 0 && many <= 0 {
				break
			}
			if it.Type == from && !it.held && !it.staged && !gone[it] {
				gone[it] = true
				victims = append(victims, it)
				over -= it.bytes
				many--
			}
		}
		return over <= 0 && many <= 0
	}
	ok = true
	files := 0
	if typ != "" {
		files = 1
		q, c := s.quotas[typ], s.counts[typ]
		overBytes, overFiles := int64(0), 0
		if q.Bytes > 0 {
			overBytes = c.bytes + need - q.Bytes
		}
		if q.Files > 0 {
			overFiles = c.files + files - q.Files
		}
		ok = drop(typ, overBytes, overFiles)
	}
	for _, from := range slices.Backward(importance) {
		over, many := s.bytes+need-s.max, len(s.items)+files-maxItems
		for _, it := range victims {
			over -= it.bytes
			many--
		}
		if over <= 0 && many <= 0 || typ != "" && weight(from) < weight(typ) {
			break
		}
		drop(from, over, many)
	}
	over := s.bytes + need - s.max
	for _, it := range victims {
		over -= it.bytes
	}
	if ok = ok && over <= 0; !ok {
		victims = nil
	}
	s.discard(victims)
	s.mu.Unlock()
	for _, it := range victims {
		_ = s.erase(it.Seq) // what cannot be erased comes back at the next start
	}
	return victims, ok
}

// discard takes victims out of the list. The caller holds mu.
func (s *spool) discard(victims []*item) {
	if len(victims) == 0 {
		return
	}
	gone := make(map[*item]bool, len(victims))
	for _, it := range victims {
		gone[it] = true
		it.gone = true
		s.count(it.Type, -1, -it.bytes)
	}
	s.items = slices.DeleteFunc(s.items, func(it *item) bool { return gone[it] })
}

// expire drops the files that are older than their type's quota allows at now,
// by a clock that is right.
func (s *spool) expire(now time.Time) (victims []*item) {
	s.mu.Lock()
	for _, it := range s.items {
		age := s.quotas[it.Type].Age
		if age <= 0 {
			continue
		}
		if it.dated.IsZero() { // it came in while the time was unknown, or before the start
			it.dated = now
			if it.Dated {
				it.dated = it.Added
			}
		}
		if !it.held && !it.staged && now.Sub(it.dated) > age {
			victims = append(victims, it)
		}
	}
	s.discard(victims)
	s.mu.Unlock()
	for _, it := range victims {
		_ = s.erase(it.Seq)
	}
	return victims
}

// errOld is why a file is dropped.
var errOld = errors.New("older than its type's files may become")

// expireEvery is how often the ages of files are looked at.
const expireEvery = time.Minute

// aged reports whether files of some type grow too old.
func (u *Uploader) aged() bool {
	for _, q := range u.Quotas {
		if q.Age > 0 {
			return true
		}
	}
	return false
}

// expire drops what has become too old, once a minute.
func (u *Uploader) expire() {
	now, right := u.Now()
	if !right || !u.aged() || now.Sub(u.expired).Abs() < expireEvery {
		return
	}
	u.expired = now
	u.dropped(u.spool.expire(now), errOld)
}
