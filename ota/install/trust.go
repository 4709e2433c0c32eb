package install

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrUntrusted means that others than root could have changed what root is to
// run or to believe.
var ErrUntrusted = errors.New("not root's alone")

const maxLinks = 16

// Trust looks at the regular file at path, at every directory above it and at
// every link on the way: all must belong to root, and nobody else may write to
// them. It returns the path without links. The error is ErrUntrusted or the
// system's.
func Trust(path string) (string, error) { return trusted(path, "/", 0) }

// trusted is Trust below the directory top, for a user that stands for root.
func trusted(path, top string, owner uint32) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s: %w: the path is not absolute", path, ErrUntrusted)
	}
	done, rest, links := "/", words(path), 0
	for len(rest) > 0 {
		name := filepath.Join(done, rest[0])
		rest = rest[1:]
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return "", &os.PathError{Op: "lstat", Path: name, Err: err}
		}
		if within(name, top) && st.Uid != owner {
			return "", fmt.Errorf("%s: %w: it belongs to user %d", name, ErrUntrusted, st.Uid)
		}
		switch kind := st.Mode & unix.S_IFMT; {
		case kind == unix.S_IFLNK:
			target, err := os.Readlink(name)
			if err != nil {
				return "", err
			}
			if links++; links > maxLinks {
				return "", &os.PathError{Op: "resolve", Path: path, Err: unix.ELOOP}
			}
			if filepath.IsAbs(target) {
				done = "/"
			}
			rest = append(words(target), rest...)
			continue
		case len(rest) > 0 && kind != unix.S_IFDIR:
			return "", &os.PathError{Op: "resolve", Path: name, Err: unix.ENOTDIR}
		case len(rest) == 0 && kind != unix.S_IFREG:
			return "", fmt.Errorf("%s: %w: it is no regular file", name, ErrUntrusted)
		case !within(name, top):
		case st.Mode&0o022 != 0 && (kind == unix.S_IFREG || st.Mode&unix.S_ISVTX == 0):
			return "", fmt.Errorf("%s: %w: its mode %#o lets others write", name, ErrUntrusted, st.Mode&0o7777)
		}
		done = name
	}
	return done, nil
}

func words(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func within(name, top string) bool {
	return top == "/" || name == top || strings.HasPrefix(name, top+"/")
}

// TrustProgram is Trust of a file that root is to run.
func TrustProgram(path string) (string, error) {
	name, err := Trust(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(name)
	if err == nil && info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("%s: its mode %#o lets nobody run it", name, info.Mode().Perm())
	}
	return name, err
}
