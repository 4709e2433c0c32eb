package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// maxItems bounds the number of files in the spool.
const maxItems = 10000

// A spool is the directory of files that wait to be sent, ours alone.
type spool struct {
	fs   atomicfile.FS
	dir  string // of SEQ.rec and SEQ.data
	bad  string // the quarantine
	max  int64
	lock *os.File

	mu        sync.Mutex
	items     []*item // by Seq
	next      uint64  // Seq of the next one
	bytes     int64   // of items
	receiving int64   // bytes of files that are still arriving

	// pending are records whose data may still be in the drop box. Only intake
	// touches them.
	pending map[uint64]record
}

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

func (s *spool) init(fsys atomicfile.FS, state string, limit int64) {
	s.fs, s.max = fsys, limit
	s.dir, s.bad = filepath.Join(state, "spool"), filepath.Join(state, "quarantine")
}

// path is the file of item seq with the given ending: "rec" or "data".
func (s *spool) path(seq uint64, kind string) string {
	return filepath.Join(s.dir, seqName(seq)+"."+kind)
}

// receive streams r to a file that a crash removes, and returns its name.
func (s *spool) receive(ctx context.Context, r io.Reader) (tmp string, size int64, err error) {
	// Random, because the Add of an Uploader that has ended may still be here.
	tmp = filepath.Join(s.dir, fmt.Sprintf("add-%016x.tmp", rand.Uint64()))
	f, err := s.fs.Create(tmp, 0o600)
	if err != nil {
		return "", 0, err
	}
	defer func() {
		s.reserve(-size)
		if err != nil {
			_ = s.fs.Remove(tmp)
		}
	}()
	buf := make([]byte, 32<<10)
	for err == nil {
		var n int
		if err = ctx.Err(); err != nil {
			break
		}
		n, err = r.Read(buf)
		if n == 0 {
			continue
		}
		if !s.reserve(int64(n)) {
			err = ErrFull
			break
		}
		size += int64(n)
		if _, werr := f.Write(buf[:n]); werr != nil {
			err = werr
		}
	}
	if err == io.EOF {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return tmp, size, err
}

// reserve counts n more bytes of arriving files, unless there are too many.
func (s *spool) reserve(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 && s.receiving+n > s.max {
		return false
	}
	s.receiving += n
	return true
}

// adopt makes an item of rec and the synced file tmp in the spool.
func (s *spool) adopt(rec record, tmp string) (record, error) {
	rec.Seq = s.number()
	if err := s.save(&rec); err != nil {
		return rec, err
	}
	data := s.path(rec.Seq, "data")
	err := s.fs.Rename(tmp, data)
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err == nil {
		rec.MTime, err = mtime(data)
	}
	if err != nil {
		_ = s.erase(rec.Seq)
		return rec, err
	}
	s.insert(rec)
	return rec, nil
}

// number returns the number of a new item.
func (s *spool) number() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next
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

// save makes rec durable.
func (s *spool) save(rec *record) error {
	if err := atomicfile.SaveRecord(s.fs, s.path(rec.Seq, "rec"), rec); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// erase removes an item's data, durably, and then its record: a record without
// data is one that has been dealt with.
func (s *spool) erase(seq uint64) error {
	if err := s.remove(s.path(seq, "data")); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, kind := range []string{"rec.prev.tmp", "rec.prev", "rec"} {
		if err := s.remove(s.path(seq, kind)); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	return nil
}

// remove deletes a file that may be gone.
func (s *spool) remove(name string) error {
	if err := s.fs.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func mtime(name string) (int64, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return 0, err
	}
	return info.ModTime().UnixNano(), nil
}
