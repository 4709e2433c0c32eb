package upload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

var errInUse = errors.New("spool is in use by another process")

// open makes the spool what it was before the last crash. It returns how many
// files had no record that could be read; they are in quarantine.
func (s *spool) open() (orphans int, err error) {
	if s.lock == nil {
		if err := s.claim(); err != nil {
			return 0, err
		}
	}
	names, err := listNames(s.dir)
	if err != nil {
		return 0, err
	}
	bad, err := listNames(s.bad)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.items, s.bytes, s.counts, s.pending = nil, 0, map[string]count{}, map[uint64]record{}
	s.origins = map[string]string{}
	s.mu.Unlock()
	found := map[uint64]bool{}
	for _, name := range slices.Concat(names, bad) {
		seq, _, ok := parseSeq(name)
		if ok {
			s.next = max(s.next, seq)
		}
	}
	for _, name := range names {
		seq, rest, ok := parseSeq(name)
		switch {
		case strings.HasSuffix(name, ".tmp"):
			_ = s.fs.Remove(filepath.Join(s.dir, name))
		case ok && (rest == ".rec" || rest == ".rec.prev" || rest == ".data"):
			found[seq] = true
		}
	}
	for seq := range found {
		orphan, err := s.restore(seq)
		if err != nil {
			return 0, err
		}
		if orphan {
			orphans++
		}
	}
	return orphans, nil
}

// claim makes the directories and keeps other processes out of them.
func (s *spool) claim() error {
	for _, dir := range []string{s.dir, s.bad} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, ".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errInUse
		}
		return err
	}
	s.lock = lock
	return nil
}

func (s *spool) close() {
	if s.lock != nil {
		s.lock.Close()
		s.lock = nil
	}
}

// restore decides what becomes of the files of item seq. An orphan has data but
// no record.
func (s *spool) restore(seq uint64) (orphan bool, err error) {
	var rec record
	_, err = atomicfile.LoadRecord(s.fs, s.path(seq, "rec"), &rec)
	if err == nil {
		err = rec.check(seq)
	}
	data := s.exists(seq)
	switch {
	case err == nil && (data || rec.Copying):
		// Intake completes it: it may have been cut short on its way in.
		s.pending[seq] = rec
		s.stage(&rec)
		return false, nil
	case err == nil, !data:
		return false, s.erase(seq) // dealt with, or never begun
	case errors.Is(err, fs.ErrNotExist):
		err = errors.New("its record is missing")
	case !errors.Is(err, atomicfile.ErrCorrupt) && !errors.Is(err, errRecord):
		return false, err // the disk: nothing is known of the record
	}
	// Whether and as what it was sent is not known any more.
	return true, s.setAside(record{Seq: seq, Type: "unknown", Name: "unknown"}, fmt.Errorf("not sent: %w", err))
}

// exists reports whether item seq has data.
func (s *spool) exists(seq uint64) bool {
	_, err := os.Lstat(s.path(seq, "data"))
	return err == nil
}

func listNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
