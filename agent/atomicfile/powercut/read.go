package powercut

import (
	"bytes"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

var _ atomicfile.ReadFS = (*Disk)(nil)

// Open opens a file for reading what the running system sees. Neither it nor
// the reading is counted.
func (d *Disk) Open(name string) (atomicfile.Reader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off() {
		return nil, ErrOff
	}
	ino := d.names[name]
	if ino == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{d, ino, name}, nil
}

// List names what is in dir, sorted. It is not counted.
func (d *Disk) List(dir string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off() {
		return nil, ErrOff
	}
	for _, name := range sorted(d.names) {
		if filepath.Dir(name) == filepath.Clean(dir) {
			names = append(names, filepath.Base(name))
		}
	}
	return names, nil
}

// ReadAt reads what was written so far.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off() {
		return 0, ErrOff
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

// Size is how much was written so far.
func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.data)), nil
}

var _ io.ReaderAt = (*file)(nil)
