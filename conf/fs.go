package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// maxFile bounds the bytes of each file that is read.
const maxFile = 80 << 10

// An FS is the system calls of which a Writer is made: those of durable writes,
// and those that a file in another's directory needs. OS makes them; tests
// substitute one that fails or loses power at any of them.
type FS interface {
	atomicfile.FS
	// Resolve follows every symbolic link in path.
	Resolve(path string) (string, error)
	// Names lists a directory.
	Names(dir string) ([]string, error)
	// Inherit gives a file that Create has made the owner, the mode and the
	// extended attributes of the file called from.
	Inherit(f atomicfile.File, from string) error
	// Overwrite opens a file to change it where it is.
	Overwrite(name string) (Overwriter, error)
}

// An Overwriter is an open file whose bytes can be changed.
type Overwriter interface {
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// OS is the operating system's FS.
type OS struct{ atomicfile.OS }

// ReadFile reads a regular file of bounded size. Others it does not wait for.
func (OS) ReadFile(name string) ([]byte, error) { return readFile(name) }

// Resolve is filepath.EvalSymlinks of the absolute path.
func (OS) Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// Names is readdir(3), sorted.
func (OS) Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// Overwrite opens an existing regular file for writing, as it is.
func (OS) Overwrite(name string) (Overwriter, error) {
	return os.OpenFile(name, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// Inherit ignores what the file system does not have; an owner, a group or a
// mode that stays wrong is an error.
func (OS) Inherit(f atomicfile.File, from string) error {
	to, ok := f.(*os.File)
	if !ok {
		return fmt.Errorf("%T is not a file of the operating system", f)
	}
	source, err := os.OpenFile(from, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer source.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(source.Fd()), &st); err != nil {
		return &fs.PathError{Op: "fstat", Path: from, Err: err}
	}
	fd := int(to.Fd())
	if err := keepOwner(fd, st); err != nil {
		return err
	}
	copyAttributes(fd, int(source.Fd()))
	mode := st.Mode & 0o7777
	if err := unix.Fchmod(fd, mode); err != nil {
		var now unix.Stat_t
		if unix.Fstat(fd, &now) != nil || now.Mode&0o7777 != mode {
			return &fs.PathError{Op: "fchmod", Path: to.Name(), Err: err}
		}
	}
	return nil
}

// keepOwner gives fd the owner and the group in st. A process without
// CAP_CHOWN may only do what changes nothing, and choose among its own groups.
func keepOwner(fd int, st unix.Stat_t) error {
	if unix.Fchown(fd, int(st.Uid), int(st.Gid)) != nil {
		_ = unix.Fchown(fd, -1, int(st.Gid)) // a member of the group may
	}
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return &fs.PathError{Op: "fstat", Path: "the new file", Err: err}
	}
	if now.Uid != st.Uid || now.Gid != st.Gid {
		return fmt.Errorf("%w: it belongs to %d:%d, not to %d:%d", errOwner, now.Uid, now.Gid, st.Uid, st.Gid)
	}
	return nil
}

// copyAttributes copies the extended attributes, access control lists among
// them, as far as it may.
func copyAttributes(to, from int) {
	names := make([]byte, 64<<10) // the most that Linux lists
	n, err := unix.Flistxattr(from, names)
	if err != nil {
		return
	}
	value := make([]byte, 64<<10) // the most that one holds
	for _, name := range splitNames(names[:n]) {
		if size, err := unix.Fgetxattr(from, name, value); err == nil {
			_ = unix.Fsetxattr(to, name, value[:size], 0)
		}
	}
}

func splitNames(list []byte) (names []string) {
	start := 0
	for i, c := range list {
		if c == 0 {
			names = append(names, string(list[start:i]))
			start = i + 1
		}
	}
	return names
}

// readFile reads a regular file of at most maxFile bytes. A FIFO or a device
// is refused at once, not waited for.
func readFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxFile)
	}
	return data, nil
}
