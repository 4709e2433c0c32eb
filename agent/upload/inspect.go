package upload

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The drop box belongs to others: whatever is in it may be exchanged for
// something else between two of our system calls. So directories are entered
// one by one and never through a link, and what counts about a file is what is
// known of it once it is open.

// Why a file is not taken.
var (
	errLink      = errors.New("symbolic link")
	errSpecial   = errors.New("not a regular file")
	errDirectory = errors.New("directory")
	errNames     = errors.New("has more than one name (hard links)")
	errForeign   = errors.New("belongs to another user, in a directory without the sticky bit")
	errLarge     = errors.New("larger than the spool")
	errOpen      = errors.New("still open for writing")
	errClosed    = errors.New("not readable for the agent: its owner has to let others read it")
	errUnknown   = errors.New("not the directory of a type")
	errNoDir     = errors.New("not a directory, or a link to one")
)

// enter opens the directory name below dir for reading.
func enter(dir *os.File, name string, uid int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return nil, errNoDir
	case err != nil:
		return nil, err
	}
	d := os.NewFile(uintptr(fd), dir.Name()+"/"+name)
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && !ours(&st, uid) {
		err = errForeign
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// look returns what name in dir is, without opening it.
func look(dir *os.File, name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// openFile opens the regular file name in dir and returns what it is.
func openFile(dir *os.File, name string, may policy) (f *os.File, st unix.Stat_t, err error) {
	// Without O_NONBLOCK a pipe in its place would hold us here.
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, st, err
	}
	f = os.NewFile(uintptr(fd), name)
	if err = unix.Fstat(fd, &st); err == nil {
		err = may.accept(&st)
	}
	if err != nil {
		f.Close()
		return nil, st, err
	}
	return f, st, nil
}

// A policy says which files are taken.
type policy struct {
	uid   int   // whose files, beside root's
	limit int64 // their greatest size in bytes
	// shared says that the directory lets everybody put files in and nobody
	// touch those of others (its mode has the sticky bit): then the files of all
	// users are taken, by a copy that their owners cannot change any more.
	shared bool
}

// in is the policy for the files of dir, which enter has opened.
func (p policy) in(dir *os.File) policy {
	var st unix.Stat_t
	p.shared = unix.Fstat(int(dir.Fd()), &st) == nil && st.Mode&unix.S_ISVTX != 0 && ours(&st, p.uid)
	return p
}

// accept returns why a file is not to be taken, or nil.
func (p policy) accept(st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return errLink
	case unix.S_IFDIR:
		return errDirectory
	default:
		return errSpecial
	}
	switch {
	case st.Nlink > 1:
		return errNames // the other may be a file that we alone can read
	case !p.shared && !ours(st, p.uid):
		return errForeign
	case st.Size > p.limit:
		return fmt.Errorf("%w (%d bytes, of %d)", errLarge, st.Size, p.limit)
	}
	return nil
}

// ours reports whether st belongs to root or to user uid.
func ours(st *unix.Stat_t, uid int) bool { return st.Uid == 0 || int(st.Uid) == uid }

// beingWritten reports whether some process has f open for writing. A read
// lease is granted only if none has; see fcntl(2). Where there are no leases
// for us the answer is no, and the settle time has to do.
func beingWritten(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}

// An identity is what makes a file the one it was, unchanged.
type identity struct {
	dev, ino    uint64
	size, mtime int64 // in bytes, in nanoseconds
}

func identify(st *unix.Stat_t) identity {
	return identity{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano()}
}

// boxOps is what is done to the files of the drop box, each in the directory
// that was entered. dropOps does it; tests substitute one that stops.
type boxOps interface {
	move(dir *os.File, name, to string) error // to a path of the spool
	hide(dir *os.File, name, as string) error // in the same directory
	remove(dir *os.File, name string) error
}

type dropOps struct{}

func (dropOps) move(dir *os.File, name, to string) error {
	return unix.Renameat(int(dir.Fd()), name, unix.AT_FDCWD, to)
}

func (dropOps) hide(dir *os.File, name, as string) error {
	return unix.Renameat(int(dir.Fd()), name, int(dir.Fd()), as)
}

func (dropOps) remove(dir *os.File, name string) error {
	return unix.Unlinkat(int(dir.Fd()), name, 0)
}
