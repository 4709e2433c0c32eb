package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// maxItems bounds the number of files in the spool.
const maxItems = 10000

// A spool is the directory of files that wait to be sent, ours alone.
type spool struct {
	fs   atomicfile.FS
	dir  string // of SEQ.rec and SEQ.data
	bad  string // the quarantine
	kept string // the archive
	max  int64
	lock *os.File

	mu        sync.Mutex
	items     []*item // by Seq
	next      uint64  // Seq of the next one
	bytes     int64   // of items
	counts    map[string]count
	quotas    map[string]Quota
	smalls    int               // files that went ahead of large ones in a row
	receiving int64             // bytes of files that are still arriving
	origins   map[string]string // of the staged items, by id

	// pending are records whose data may still be in the drop box. Only intake
	// touches them.
	pending map[uint64]record
}

func (s *spool) init(fsys atomicfile.FS, state string, limit int64, quotas map[string]Quota) {
	s.fs, s.max, s.quotas = fsys, limit, quotas
	s.counts = map[string]count{}
	s.dir, s.bad = filepath.Join(state, "spool"), filepath.Join(state, "quarantine")
	s.kept = filepath.Join(state, "archive")
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
	s.stage(&rec)
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
