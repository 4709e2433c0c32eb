package ota

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// slotSize is the length of a checkpoint's file. It never changes, so that
// writing one touches no metadata.
const slotSize = 2048

// A checkpoint says what of a part is certain. Whatever lies beyond its offset
// is never trusted: after a power cut it may be zeros.
type checkpoint struct {
	Gen      uint64    `json:"gen"` // the newer of the two slots has the higher one
	Offset   int64     `json:"offset"`
	SHA256   string    `json:"sha256"` // of the bytes before Offset
	Total    int64     `json:"total"`  // -1 unknown
	Mark     validator `json:"mark"`   // of the bytes before Offset
	URLKey   string    `json:"url_key,omitempty"`
	Complete bool      `json:"complete,omitempty"`
	Spent    int64     `json:"spent"` // seconds of trying so far
}

func (c checkpoint) encode() ([]byte, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	const room = slotSize - len("\n00000000")
	if len(line) > room {
		return nil, fmt.Errorf("checkpoint of %d bytes", len(line))
	}
	return atomicfile.Seal(append(line, bytes.Repeat([]byte(" "), room-len(line))...)), nil
}

func decodeCheckpoint(data []byte) (c checkpoint, err error) {
	line, ok := atomicfile.Unseal(data)
	if !ok || len(data) != slotSize {
		return c, atomicfile.ErrCorrupt
	}
	if err := json.Unmarshal(line, &c); err != nil {
		return checkpoint{}, fmt.Errorf("%w: %v", atomicfile.ErrCorrupt, err)
	}
	sum, err := hex.DecodeString(c.SHA256)
	switch {
	case err != nil || len(sum) != 32,
		c.Offset < 0, c.Total < -1, c.Total >= 0 && c.Offset > c.Total,
		c.Complete && c.Offset != c.Total,
		c.Spent < 0, c.Mark != c.Mark.clean(), len(c.URLKey) > 16:
		return checkpoint{}, fmt.Errorf("%w: impossible values", atomicfile.ErrCorrupt)
	}
	return c, nil
}

// slots are the two files that checkpoints are written to in turn, so that a
// torn write leaves the other.
type slots struct {
	file [2]DiskFile
	gen  uint64 // of the newest checkpoint
	next int    // the slot that does not hold it
}

// openSlots opens the slots in dir and returns the newest checkpoint, if one is
// whole.
func openSlots(fsys FS, dir string) (s *slots, newest checkpoint, ok bool, err error) {
	s = &slots{}
	for i, name := range []string{"ckpt.a", "ckpt.b"} {
		f, err := fsys.OpenFile(filepath.Join(dir, name), true)
		if err != nil {
			s.close()
			return nil, checkpoint{}, false, err
		}
		s.file[i] = f
		data := make([]byte, slotSize)
		if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
			s.close()
			return nil, checkpoint{}, false, err
		}
		if c, err := decodeCheckpoint(data); err == nil && (!ok || c.Gen > newest.Gen) {
			newest, ok = c, true
			s.gen, s.next = c.Gen, 1-i
		}
	}
	return s, newest, ok, nil
}

// write makes c durable as the newest checkpoint.
func (s *slots) write(c checkpoint) error {
	c.Gen = s.gen + 1
	data, err := c.encode()
	if err != nil {
		return err
	}
	f := s.file[s.next]
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if err := f.Datasync(); err != nil {
		return &diskError{err}
	}
	s.gen, s.next = c.Gen, 1-s.next
	return nil
}

func (s *slots) close() {
	for _, f := range s.file {
		if f != nil {
			_ = f.Close()
		}
	}
}
