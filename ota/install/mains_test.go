package install

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A mains is the system's disk until the power fails at one of the calls that
// change it. What was not synced by then may be there, or not, or in part: each
// name by itself, and each file's contents.
type mains struct {
	system
	at    int // which call, from 1
	calls int
	off   bool
	names map[string]*stored // as programs see them
	kept  map[string]*stored // as a power cut leaves them at least
}

// stored is a file or a directory that was made through a mains.
type stored struct {
	dir  bool
	perm os.FileMode
	kept []byte // of its contents
}

var errOff = errors.New("the power is off")

func newMains(at int) *mains {
	return &mains{at: at, names: map[string]*stored{}, kept: map[string]*stored{}}
}

func (m *mains) call(do func() error) error {
	if m.calls++; m.calls == m.at {
		m.off = true
	}
	if m.off {
		return errOff
	}
	return do()
}

func (m *mains) Link(from, to string) error {
	return m.call(func() error {
		err := os.Link(from, to)
		if err == nil {
			m.names[to] = m.names[from]
		}
		return err
	})
}

func (m *mains) Rename(from, to string) error {
	return m.call(func() error {
		err := os.Rename(from, to)
		if err == nil {
			m.names[to] = m.names[from]
			delete(m.names, from)
		}
		return err
	})
}

func (m *mains) Remove(name string) error {
	return m.call(func() error {
		delete(m.names, name)
		return os.Remove(name)
	})
}

func (m *mains) RemoveAll(name string) error {
	return m.call(func() error {
		maps.DeleteFunc(m.names, func(n string, _ *stored) bool { return below(n, name) })
		return os.RemoveAll(name)
	})
}

func (m *mains) RemoveIn(dir *os.Root, name string) error {
	return m.call(func() error { return dir.RemoveAll(name) })
}

func (m *mains) MkdirAll(name string, perm os.FileMode) error {
	return m.call(func() error {
		for d := name; !exists(d); d = filepath.Dir(d) {
			m.names[d] = &stored{dir: true, perm: perm}
		}
		return os.MkdirAll(name, perm)
	})
}

func (m *mains) SyncDir(dir string) error {
	return m.call(func() error {
		maps.DeleteFunc(m.kept, func(n string, _ *stored) bool { return filepath.Dir(n) == dir && m.names[n] == nil })
		for n, s := range m.names {
			if filepath.Dir(n) == dir {
				m.kept[n] = s
			}
		}
		return nil
	})
}

func (m *mains) Create(name string, perm os.FileMode) (f atomicfile.File, err error) {
	s := &stored{perm: perm}
	err = m.call(func() error {
		if f, err = (atomicfile.OS{}).Create(name, perm); err == nil {
			m.names[name] = s
		}
		return err
	})
	return mainsFile{m, name, s, f}, err
}

type mainsFile struct {
	mains *mains
	name  string
	*stored
	atomicfile.File
}

func (f mainsFile) Write(p []byte) (n int, err error) {
	err = f.mains.call(func() error { n, err = f.File.Write(p); return err })
	if errors.Is(err, errOff) && f.mains.calls == f.mains.at {
		n, _ = f.File.Write(p[:len(p)/2]) // torn
	}
	return n, err
}

func (f mainsFile) Sync() error {
	return f.mains.call(func() (err error) { f.stored.kept, err = os.ReadFile(f.name); return err })
}

func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// cut makes the files what the power cut leaves of them. lose is how likely that
// is for each thing that was not synced.
func (m *mains) cut(r *rand.Rand, lose float64) error {
	left := map[string]*stored{}
	data := map[*stored][]byte{}
	all := maps.Clone(m.kept)
	maps.Copy(all, m.names)
	sorted := slices.Sorted(maps.Keys(all))
	for _, name := range sorted {
		s := m.names[name]
		if m.kept[name] != s && r.Float64() < lose {
			s = m.kept[name]
		}
		if s == nil || all[filepath.Dir(name)] != nil && left[filepath.Dir(name)] == nil {
			continue
		}
		left[name] = s
		if _, drawn := data[s]; !drawn && !s.dir {
			data[s] = m.survives(s, r, lose)
		}
	}
	for _, name := range slices.Backward(sorted) {
		if s := left[name]; s != nil && s.dir && m.names[name] == s {
			continue // with what others have put into it
		}
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	for _, name := range sorted {
		s := left[name]
		if s == nil {
			continue
		}
		err := error(nil)
		if s.dir {
			err = os.MkdirAll(name, s.perm)
		} else {
			err = os.WriteFile(name, data[s], s.perm)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// survives draws what is left of a file's contents.
func (m *mains) survives(s *stored, r *rand.Rand, lose float64) []byte {
	now := s.kept
	for name, other := range m.names {
		if other == s {
			now, _ = os.ReadFile(name)
			break
		}
	}
	if r.Float64() >= lose {
		return now
	}
	if string(now) == string(s.kept) || r.IntN(2) == 0 {
		return s.kept
	}
	torn := slices.Clone(now) // its length is there, its contents are not
	clear(torn[len(torn)/2:])
	return torn
}

// A quiet disk is the system's without waiting for it.
type quiet struct{ system }

func (quiet) SyncDir(string) error { return nil }
func (quiet) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	f, err := atomicfile.OS{}.Create(name, perm)
	return quietFile{f}, err
}

type quietFile struct{ atomicfile.File }

func (quietFile) Sync() error { return nil }
