package collect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxDirs  = 64   // that one source looks into
	maxNames = 4096 // in one of them
	maxLinks = 16   // on the way to one
)

// Why a file is not followed.
var (
	errLink      = errors.New("symbolic link")
	errSpecial   = errors.New("not a regular file")
	errHardLinks = errors.New("has more than one name (hard links)")
	errForeign   = errors.New("belongs neither to root, nor to the agent, nor to its directory's owner")
	errUnread    = errors.New("not readable for the agent")
	errLinkOf    = errors.New("leads through a symbolic link that another user has made")
	errManyDirs  = fmt.Errorf("more than %d directories match", maxDirs)
	errManyNames = fmt.Errorf("has more than %d files: the others are not seen", maxNames)
)

// A directory is one that a pattern names, open.
type directory struct {
	path string
	fd   *os.File
	st   unix.Stat_t
}

// A walk finds the directories of a pattern, from the root on, one by one:
// whoever can write in one of them could put a link to anywhere in its place.
// Links are followed where root or the agent's own user has made them.
type walk struct {
	uid   int
	visit func(d directory, pattern string)
	fault func(path string, err error)
	dirs  int
}

// pattern visits the directories in which files of an absolute pattern may be.
func (w *walk) pattern(pattern string) {
	root, err := os.Open("/")
	if err != nil {
		w.fault("/", err)
		return
	}
	defer root.Close()
	parts := strings.Split(strings.Trim(pattern, "/"), "/")
	w.enter(root, "/", parts[:len(parts)-1], parts[len(parts)-1], 0)
}

// enter goes from dir into the rest of the parts.
func (w *walk) enter(dir *os.File, at string, parts []string, pattern string, links int) {
	if len(parts) == 0 {
		if w.dirs++; w.dirs > maxDirs {
			w.fault(at, errManyDirs)
			return
		}
		d := directory{path: at, fd: dir}
		if err := unix.Fstat(int(dir.Fd()), &d.st); err != nil {
			w.fault(at, err)
			return
		}
		w.visit(d, pattern)
		return
	}
	if !strings.ContainsAny(parts[0], `*?[\`) {
		w.step(dir, at, parts[0], parts[1:], pattern, links)
		return
	}
	err := names(dir, func(name string) {
		if ok, _ := path.Match(parts[0], name); !ok {
			return
		}
		var st unix.Stat_t
		err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && w.dirs <= maxDirs {
			w.step(dir, at, name, parts[1:], pattern, links)
		}
	})
	if err != nil {
		w.fault(at, err)
	}
}

// step goes from dir into name, and on.
func (w *walk) step(dir *os.File, at, name string, parts []string, pattern string, links int) {
	to := path.Join(at, name)
	sub, err := openDir(dir, name, len(parts) > 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		w.link(dir, at, name, parts, pattern, links+1)
		return
	}
	if err != nil {
		w.fault(to, err)
		return
	}
	defer sub.Close()
	w.enter(sub, to, parts, pattern, links)
}

// link follows the link name in dir, if it is one that may be followed.
func (w *walk) link(dir *os.File, at, name string, parts []string, pattern string, links int) {
	var st unix.Stat_t
	buf := make([]byte, unix.PathMax)
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	n := 0
	if err == nil {
		n, err = unix.Readlinkat(int(dir.Fd()), name, buf)
	}
	switch {
	case errors.Is(err, unix.EINVAL):
		err = unix.ENOTDIR
	case err != nil:
	case links > maxLinks:
		err = unix.ELOOP
	case st.Uid != 0 && int(st.Uid) != w.uid:
		err = errLinkOf
	}
	if err != nil {
		w.fault(path.Join(at, name), err)
		return
	}
	target := string(buf[:n])
	rest := append(strings.FieldsFunc(target, func(r rune) bool { return r == '/' }), parts...)
	if path.IsAbs(target) {
		root, err := os.Open("/")
		if err != nil {
			w.fault("/", err)
			return
		}
		defer root.Close()
		dir, at = root, "/"
	}
	if len(rest) == 0 { // a link to the root itself
		w.enter(dir, at, nil, pattern, links)
		return
	}
	w.step(dir, at, rest[0], rest[1:], pattern, links)
}

// openDir opens the directory name in dir, never through a link: for reading,
// or only to be passed through.
func openDir(dir *os.File, name string, through bool) (*os.File, error) {
	flags := unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if through {
		flags |= unix.O_PATH
	}
	fd, err := unix.Openat(int(dir.Fd()), name, flags, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// names calls look with the names in dir, not more than maxNames of them.
func names(dir *os.File, look func(name string)) error {
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(fd), dir.Name())
	defer d.Close()
	for seen := 0; ; {
		list, err := d.Readdirnames(256)
		for _, name := range list {
			if seen++; seen > maxNames {
				return errManyNames
			}
			look(name)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// accept returns why a file of the directory in is not followed, or nil. Whose
// directory it is could put anything there, and was named in the settings; a
// second name may be that of a file which only the agent can read.
func accept(st, in *unix.Stat_t, uid int) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return errLink
	default:
		return errSpecial
	}
	switch {
	case st.Nlink > 1:
		return errHardLinks
	case st.Uid != 0 && int(st.Uid) != uid && st.Uid != in.Uid && in.Mode&unix.S_ISVTX == 0:
		return errForeign
	}
	return nil
}

// open opens the file name in d for reading, if it may be followed.
func (d *directory) open(name string, uid int) (f *os.File, st unix.Stat_t, err error) {
	fd, err := unix.Openat(int(d.fd.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, st, errLink
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, st, errUnread
	case err != nil:
		return nil, st, err
	}
	f = os.NewFile(uintptr(fd), name)
	if err = unix.Fstat(fd, &st); err == nil {
		err = accept(&st, &d.st, uid)
	}
	if err != nil {
		f.Close()
		return nil, st, err
	}
	return f, st, nil
}
