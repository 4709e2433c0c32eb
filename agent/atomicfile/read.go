package atomicfile

import (
	"io"
	"os"
	"slices"
)

// A ReadFS is an FS whose files can be listed and read in parts: for files that
// are appended to and may be large.
type ReadFS interface {
	FS
	// Open opens a file for reading.
	Open(name string) (Reader, error)
	// List names what is in dir, sorted.
	List(dir string) ([]string, error)
}

// A Reader is a file open for reading, at any place.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

// Open opens a file for reading.
func (OS) Open(name string) (Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return openFile{f}, nil
}

// List names what is in dir, sorted.
func (OS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

type openFile struct{ *os.File }

// Size is the file's length now.
func (f openFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
