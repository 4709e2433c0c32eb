package ota

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

var errDead = errors.New("the machine is off")

// A memFS is a disk that can lose power: what was not synced may then be there,
// or not, or be zeros. Directories are made durable with what made them.
type memFS struct {
	mu    sync.Mutex
	names map[string]*inode // as programs see them
	kept  map[string]*inode // as they survive a power cut
	dead  bool
	calls int
	dieAt int // at this call; 0 never

	full    int64 // bytes that may be written; 0 no limit
	written int64
	syncErr func(name string) error // may be nil
	free    int64                   // what Space says; 1 TiB if 0
	slow    time.Duration           // of each write

	lies func(call, name string) bool // calls that do nothing; may be nil
}

type inode struct {
	dir        bool
	data, kept []byte
}

func newMemFS(dirs ...string) *memFS {
	m := &memFS{names: map[string]*inode{}}
	for _, dir := range dirs {
		for d := dir; d != "/" && d != "."; d = filepath.Dir(d) {
			m.names[d] = &inode{dir: true}
		}
	}
	m.kept = maps.Clone(m.names)
	return m
}

// call counts one system call, and is where the power goes.
func (m *memFS) call() error {
	m.calls++
	if m.calls == m.dieAt {
		m.dead = true
	}
	if m.dead {
		return errDead
	}
	return nil
}

// kill is the end of the process: the disk keeps what programs saw.
func (m *memFS) kill() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	next := newMemFS()
	for name, n := range m.names {
		next.names[name] = &inode{dir: n.dir, data: slices.Clone(n.data), kept: slices.Clone(n.data)}
	}
	next.kept = maps.Clone(next.names)
	return next
}

// clone is the disk as it is, with what is synced and what is not.
func (m *memFS) clone() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := &memFS{names: make(map[string]*inode, len(m.names)), kept: make(map[string]*inode, len(m.kept)), lies: m.lies}
	seen := make(map[*inode]*inode, len(m.names))
	copied := func(n *inode) *inode {
		if seen[n] == nil {
			seen[n] = &inode{dir: n.dir, data: slices.Clone(n.data), kept: slices.Clone(n.kept)}
		}
		return seen[n]
	}
	for name, n := range m.names {
		next.names[name] = copied(n)
	}
	for name, n := range m.kept {
		next.kept[name] = copied(n)
	}
	return next
}

// cut is the end of the power. Of the names that were not synced either all in
// a directory survive or none, as a journal has it, or each by itself.
func (m *memFS) cut(r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	next := newMemFS()
	current := map[string]bool{} // directories whose newest names survived
	reordered := r.IntN(2) == 0
	survives := func(name string) bool {
		dir := filepath.Dir(name)
		if reordered {
			dir = name
		}
		if _, drawn := current[dir]; !drawn {
			current[dir] = r.IntN(2) == 0
		}
		return current[dir]
	}
	seen := map[*inode]*inode{}
	keep := func(name string, n *inode) {
		if seen[n] == nil {
			data := n.survive(r)
			seen[n] = &inode{dir: n.dir, data: data, kept: slices.Clone(data)}
		}
		next.names[name] = seen[n]
	}
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		if survives(name) {
			keep(name, m.names[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.kept)) {
		if !survives(name) {
			keep(name, m.kept[name])
		}
	}
	for name := range next.names { // what lost its directory is lost
		for d := filepath.Dir(name); d != "/" && d != "."; d = filepath.Dir(d) {
			if next.names[d] == nil {
				delete(next.names, name)
			}
		}
	}
	next.kept = maps.Clone(next.names)
	return next
}

// survive draws what a power cut leaves of a file.
func (n *inode) survive(r *rand.Rand) []byte {
	switch r.IntN(4) {
	case 0:
		return slices.Clone(n.kept)
	case 1:
		return slices.Clone(n.data)
	case 2: // the length is there, the data is not
		data := make([]byte, len(n.data))
		copy(data, n.kept[:min(len(n.kept), len(data))])
		return data
	}
	data := slices.Clone(n.data) // some blocks are there
	for i := 0; i < len(data); i += 512 {
		if r.IntN(2) == 0 {
			block := data[i:min(i+512, len(data))]
			clear(block)
			if i < len(n.kept) {
				copy(block, n.kept[i:])
			}
		}
	}
	return data
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// find is called with the lock held.
func (m *memFS) find(op, name string) (*inode, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	n := m.names[name]
	if n == nil {
		return nil, pathError(op, name, fs.ErrNotExist)
	}
	return n, nil
}

func (m *memFS) make(op, name string, n *inode) error {
	if m.names[filepath.Dir(name)] == nil {
		return pathError(op, name, fs.ErrNotExist)
	}
	m.names[name] = n
	return nil
}

func (m *memFS) Create(name string, _ os.FileMode) (atomicfile.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find("open", name); err == nil {
		return nil, pathError("open", name, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	n := &inode{}
	return &memFile{fs: m, name: name, inode: n}, m.make("open", name, n)
}

func (m *memFS) OpenFile(name string, create bool) (DiskFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("open", name)
	if errors.Is(err, fs.ErrNotExist) && create {
		n = &inode{}
		err = m.make("open", name, n)
	}
	return &memFile{fs: m, name: name, inode: n}, err
}

func (m *memFS) ReadFile(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(n.data), nil
}

func (m *memFS) Link(old, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("link", old)
	if err != nil {
		return err
	}
	if m.names[name] != nil {
		return pathError("link", name, fs.ErrExist)
	}
	return m.make("link", name, n)
}

func (m *memFS) Rename(old, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lies != nil && m.lies("rename", name) {
		return m.call()
	}
	n, err := m.find("rename", old)
	if err != nil {
		return err
	}
	if err := m.make("rename", name, n); err != nil {
		return err
	}
	delete(m.names, old)
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find("remove", name); err != nil {
		return err
	}
	for other := range m.names {
		if filepath.Dir(other) == name {
			return pathError("remove", name, unix.ENOTEMPTY)
		}
	}
	delete(m.names, name)
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find("open", dir); err != nil {
		return err
	}
	if m.lies != nil && m.lies("syncdir", dir) {
		return nil
	}
	if m.syncErr != nil {
		if err := m.syncErr(dir); err != nil {
			return err
		}
	}
	maps.DeleteFunc(m.kept, func(name string, _ *inode) bool { return filepath.Dir(name) == dir && m.names[name] == nil })
	for name, n := range m.names {
		if filepath.Dir(name) == dir {
			m.kept[name] = n
		}
	}
	return nil
}

func (m *memFS) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find("mkdir", name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return m.make("mkdir", name, &inode{dir: true})
}

func (m *memFS) ReadDir(dir string) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find("open", dir); err != nil {
		return nil, err
	}
	for name := range m.names {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m *memFS) Space(string) (Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	free := int64(1 << 40)
	if m.free != 0 {
		free = m.free
	}
	return Space{Free: free, Size: 1 << 20, Inodes: -1}, m.call()
}

// outside returns the names that are not below dir.
func (m *memFS) outside(dir string) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, n := range m.names {
		if !n.dir && !strings.HasPrefix(name, dir+"/") {
			names = append(names, name)
		}
	}
	return names
}

type memFile struct {
	fs   *memFS
	name string
	*inode
	off int64
}

func (f *memFile) Write(b []byte) (int, error) {
	n, err := f.WriteAt(b, f.off)
	f.off += int64(n)
	return n, err
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	time.Sleep(f.fs.slow)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	was := f.fs.dead
	err := f.fs.call()
	if err != nil {
		if was {
			return 0, err
		}
		b = b[:len(b)/2] // the last write is torn
	} else if f.fs.full > 0 && f.fs.written+int64(len(b)) > f.fs.full {
		b, err = b[:max(0, f.fs.full-f.fs.written)], pathError("write", f.name, unix.ENOSPC)
	}
	f.fs.written += int64(len(b))
	if grow := off + int64(len(b)) - int64(len(f.data)); grow > 0 {
		f.data = append(f.data, make([]byte, grow)...)
	}
	copy(f.data[off:], b)
	return len(b), err
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.call(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), f.fs.call()
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.call(); err != nil {
		return err
	}
	if grow := size - int64(len(f.data)); grow > 0 {
		f.data = append(f.data, make([]byte, grow)...)
	}
	f.data = f.data[:size:size]
	return nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.call(); err != nil {
		return err
	}
	if f.fs.syncErr != nil {
		if err := f.fs.syncErr(f.name); err != nil {
			return err
		}
	}
	if f.fs.lies != nil && f.fs.lies("sync", f.name) {
		return nil
	}
	f.kept = slices.Clone(f.data)
	return nil
}

func (f *memFile) Datasync() error        { return f.Sync() }
func (f *memFile) WriteBack(_, _ int64)   {}
func (f *memFile) Allocate(_ int64) error { return nil }
func (f *memFile) Close() error           { return nil }

// rounds is how often a random test is repeated: less under the race detector,
// which looks for something else.
func rounds(n int) int {
	if raceEnabled {
		return n / 4
	}
	return n
}
