package collect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

const (
	maxFiles = 256 // that are followed
	maxKnown = 384 // whose positions are kept, all of which a record has room for
)

// A state is what a Collector must not forget.
type state struct {
	Next  uint64  `json:"next"` // number of the next data file
	Files []*file `json:"files,omitempty"`
}

// A file is one that is followed, or was.
type file struct {
	mark
	Source string `json:"source"`
	Path   string `json:"path"`            // where it was found
	MTime  int64  `json:"mtime,omitempty"` // when it was seen last, in nanoseconds
	Order  uint64 `json:"order"`           // older files have smaller ones

	f       *os.File
	listed  bool      // it was there at the last look
	current bool      // and where it was found first
	changed time.Time // when it was last seen to have changed
	over    bool      // it is known to be written no more
}

// An origin goes with a data file into the queue.
type origin struct {
	N    uint64 `json:"n"` // the data file's number
	File file   `json:"file"`
}

func (o origin) String() string {
	b, _ := json.Marshal(o) // it has nothing that JSON knows not
	return string(b)
}

// recover makes the positions what they were before the last crash, and lets go
// what was staged.
func (c *Collector) recover() error {
	staged, err := c.Queue.Staged()
	if err != nil {
		return err
	}
	s, err := c.load()
	if err != nil {
		return err
	}
	ids := make([]string, 0, len(staged))
	var origins []*origin
	for id, text := range staged {
		ids = append(ids, id)
		o := new(origin)
		if json.Unmarshal([]byte(text), o) == nil && o.N >= s.Next && o.N < math.MaxUint64 && o.File.sane() {
			origins = append(origins, o)
		}
	}
	slices.SortFunc(origins, func(a, b *origin) int { return cmp.Compare(a.N, b.N) })
	for _, o := range origins {
		s.apply(o)
	}
	c.state, c.saved = s, true
	if len(origins) > 0 {
		c.Log.Info("positions of collected files taken from the queue", "data_files", len(origins))
		if err := c.save(); err != nil {
			return err
		}
	}
	c.Queue.Release(ids...)
	return nil
}

// apply notes what the data file with that origin holds.
func (s *state) apply(o *origin) {
	s.Next = o.N + 1
	i := slices.IndexFunc(s.Files, func(f *file) bool {
		return f.Source == o.File.Source && f.Dev == o.File.Dev && f.Ino == o.File.Ino
	})
	if i >= 0 {
		s.Files[i] = &o.File
		return
	}
	s.Files = append(s.Files, &o.File)
}

// sane refuses what this package has not written.
func (f *file) sane() bool { return f.Pos >= 0 && f.Size >= f.Pos && usable(f.Path) }

// load reads the positions.
func (c *Collector) load() (s state, err error) {
	previous, err := atomicfile.LoadRecord(c.FS, c.State, &s)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return state{Next: 1}, nil
	case errors.Is(err, atomicfile.ErrCorrupt):
		c.Log.Error("positions of collected files are lost: they are read from their beginning", "err", err)
		return state{Next: 1}, nil
	case err != nil:
		return s, err
	case previous:
		c.Log.Error("positions of collected files are those of one time before: some lines may be sent twice")
	}
	s.Files = slices.DeleteFunc(s.Files, func(f *file) bool { return f == nil || !f.sane() })
	return s, nil
}

// save makes the positions durable.
func (c *Collector) save() error {
	slices.SortFunc(c.state.Files, func(a, b *file) int { return cmp.Compare(a.Order, b.Order) })
	if over := len(c.state.Files) - maxKnown; over > 0 {
		for _, f := range c.state.Files[:over] {
			c.hold(f, nil)
		}
		c.state.Files = slices.Delete(c.state.Files, 0, over)
	}
	if err := atomicfile.SaveRecord(c.FS, c.State, c.state); err != nil {
		return fmt.Errorf("positions: %w", err)
	}
	c.saved = true
	return nil
}

// number returns the number of a new file, or data file.
func (c *Collector) number() uint64 {
	c.state.Next++
	return c.state.Next - 1
}
