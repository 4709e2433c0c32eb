package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// maxFile bounds a file that is read before it is written, in bytes.
const maxFile = 1 << 20

// keep means the owner or the group that the file has, or a new file gets.
const keep = -1

// put brings the file up to date with tok, in one durable step. A file that
// already says the same, with the same mode and owner, is not touched: its
// inode and its times stay.
func (a *Account) put(t Target, tok Token) (changed bool, err error) {
	uid, err := id(t.Owner, lookupUser)
	if err != nil {
		return false, err
	}
	gid, err := id(t.Group, lookupGroup)
	if err != nil {
		return false, err
	}
	was, err := look(t.File)
	if err != nil {
		return false, explain(t, err)
	}
	text, err := t.text(tok, was.text, a.Edit)
	if err != nil {
		return false, err
	}
	if uid == keep && was.there {
		uid = was.uid
	}
	if gid == keep && was.there {
		gid = was.gid
	}
	if was.there && bytes.Equal(text, was.text) && was.mode == t.Mode && was.uid == uid && was.gid == gid {
		return false, nil
	}
	if err := atomicfile.WriteFS(dresser{a.fs(), t.Mode, uid, gid}, t.File, text, 0o600); err != nil {
		return false, explain(t, err)
	}
	return true, nil
}

// text is what the file of t is to say; old is what it says now.
func (t Target) text(tok Token, old []byte, edit func([]byte, string, string, string) ([]byte, error)) ([]byte, error) {
	if t.Text != nil {
		return t.Text(tok)
	}
	return t.Format.render(tok, old, edit)
}

// A found is a file as it was found.
type found struct {
	there    bool
	text     []byte
	mode     fs.FileMode
	uid, gid int
}

// look reads the file at path. What is no file of its own is an error: through
// a link one could make us read and reveal another's file.
func look(path string) (was found, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return was, nil
	case errors.Is(err, unix.ELOOP):
		return was, fmt.Errorf("%s is a symbolic link: name the file that it leads to", path)
	case err != nil:
		return was, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return was, err
	}
	if !info.Mode().IsRegular() {
		return was, fmt.Errorf("%s is no regular file", path)
	}
	if was.text, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err != nil {
		return was, err
	}
	if len(was.text) > maxFile {
		return was, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	was.there, was.mode, was.uid, was.gid = true, info.Mode().Perm(), keep, keep
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		was.uid, was.gid = int(st.Uid), int(st.Gid)
	}
	return was, nil
}

// A dresser gives each new file its owner and mode before it gets its text, and
// so before it gets its name.
type dresser struct {
	atomicfile.FS
	mode     fs.FileMode
	uid, gid int
}

// Create makes a file that nobody but us can read until it is dressed.
func (d dresser) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	f, err := d.FS.Create(name, perm)
	if err != nil {
		return nil, err
	}
	if err := d.dress(f); err != nil {
		return nil, errors.Join(err, f.Close(), d.Remove(name))
	}
	return f, nil
}

func (d dresser) dress(f atomicfile.File) error {
	file, ok := f.(interface {
		Stat() (fs.FileInfo, error)
		Chown(uid, gid int) error
		Chmod(mode fs.FileMode) error
	})
	if !ok {
		return nil // a disk in memory
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	uid, gid := d.uid, d.gid
	if st, ok := info.Sys().(*syscall.Stat_t); ok { // chown(2) to what it is needs no right, but may be filtered
		if uid == int(st.Uid) {
			uid = keep
		}
		if gid == int(st.Gid) {
			gid = keep
		}
	}
	if uid != keep || gid != keep {
		if err := file.Chown(uid, gid); err != nil {
			return &ownerError{d.uid, d.gid, err}
		}
	}
	return file.Chmod(d.mode) // Create went by the umask
}

// An ownerError is a file that cannot be given to its owner or group.
type ownerError struct {
	uid, gid int
	err      error
}

func (e *ownerError) Error() string {
	return fmt.Sprintf("give the file to uid %d, gid %d (-1: as it is): %v", e.uid, e.gid, e.err)
}

func (e *ownerError) Unwrap() error { return e.err }

// explain says what to do where the sandbox of the unit is the likely cause.
func explain(t Target, err error) error {
	dir := filepath.Dir(t.File)
	var owner *ownerError
	switch {
	case errors.As(err, &owner):
		return fmt.Errorf("%w: the unit has no right to; for a group add SupplementaryGroups=, for an owner CAP_CHOWN, "+
			"in a drop-in as examples/deliver.conf shows, or make the file with this owner beforehand", err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: the file system is read-only, or the unit's sandbox keeps it so: add ReadWritePaths=%s in a drop-in", err, dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the agent has no capability to pass over modes; let its user or group write to %s", err, dir)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make the directory, for /run with a file in tmpfiles.d", err)
	}
	return err
}

// id is the number of who is named by s, keep if that is empty.
func id(s string, lookup func(string) (string, error)) (int, error) {
	if s == "" {
		return keep, nil
	}
	number, err := lookup(s)
	if err != nil {
		number = s
	}
	n, nerr := strconv.ParseUint(number, 10, 31)
	switch {
	case nerr == nil:
		return int(n), nil
	case err != nil:
		return 0, err
	}
	return 0, fmt.Errorf("%q has the number %q", s, number)
}

func lookupUser(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", fmt.Errorf("there is no user %q", name)
	}
	return u.Uid, nil
}

func lookupGroup(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", fmt.Errorf("there is no group %q", name)
	}
	return g.Gid, nil
}
