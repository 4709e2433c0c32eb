package ota

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// An FS is the file system that the state directory is on. Disk is the real
// one; tests substitute one that loses power between any two calls.
type FS interface {
	atomicfile.FS
	// Mkdir makes a directory of mode 0700. An existing one is fine.
	Mkdir(name string) error
	// ReadDir returns the names in a directory, sorted.
	ReadDir(name string) ([]string, error)
	// OpenFile opens a file to read and write. A missing one is made, with mode
	// 0600, or is fs.ErrNotExist.
	OpenFile(name string, make bool) (DiskFile, error)
	// Space says how much the file system that holds dir can take.
	Space(dir string) (Space, error)
}

// A DiskFile is an open file of an FS.
type DiskFile interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes contents and length durable. After an error the file must not
	// be used: the kernel may have dropped what it could not write.
	Sync() error
	// Datasync is Sync without the file's times.
	Datasync() error
	// WriteBack asks for n bytes from off to be written soon. It is advice.
	WriteBack(off, n int64)
	// Allocate reserves room for size bytes without changing the file's length.
	// A file system that cannot is no error.
	Allocate(size int64) error
	Close() error
}

// Disk is the operating system's FS.
type Disk struct{ atomicfile.OS }

// Mkdir is mkdir(2).
func (Disk) Mkdir(name string) error {
	err := os.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// ReadDir returns the names in a directory.
func (Disk) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// OpenFile opens a file, never through a symbolic link.
func (Disk) OpenFile(name string, make bool) (DiskFile, error) {
	flag := os.O_RDWR | unix.O_NOFOLLOW
	if make {
		flag |= os.O_CREATE
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// Space is statfs(2).
func (Disk) Space(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	inodes := int64(-1)
	if s.Files > 0 {
		inodes = int64(s.Ffree)
	}
	block := int64(s.Bsize)
	return Space{Free: int64(s.Bavail) * block, Size: int64(s.Blocks) * block, Inodes: inodes}, nil
}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f diskFile) Datasync() error {
	return f.call("fdatasync", func() error { return unix.Fdatasync(int(f.Fd())) })
}

func (f diskFile) WriteBack(off, n int64) {
	// The error of a write that fails is kept for Sync to return.
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

func (f diskFile) Allocate(size int64) error {
	err := f.call("fallocate", func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

func (f diskFile) call(op string, do func() error) error {
	for {
		switch err := do(); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &fs.PathError{Op: op, Path: f.Name(), Err: err}
		}
	}
}
