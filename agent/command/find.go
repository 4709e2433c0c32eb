package command

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

var errUnknown = errors.New("no such command")

// find returns what runs for m, and whether a retained message may run it.
func (s Settings) find(m Message) (j job, retained bool, err error) {
	known := Command{Name: m.Name}
	i := slices.IndexFunc(s.Known, func(k Command) bool { return k.Name == m.Name })
	if i >= 0 {
		known = s.Known[i]
	}
	j = job{Message: m, argv: known.Run, timeout: cmp.Or(known.Timeout, DefaultTimeout)}
	if len(j.argv) > 0 {
		return j, known.Retained, nil
	}
	path, err := program(s.Dir, m.Name)
	if errors.Is(err, fs.ErrNotExist) && i < 0 {
		err = errUnknown
	}
	j.argv = []string{path}
	return j, known.Retained, err
}

// program returns the path of the program of that name in dir. It must be an
// executable file that nobody but root and ourselves can change.
func program(dir, name string) (string, error) {
	if dir == "" || !nameForm.MatchString(name) {
		return "", fs.ErrNotExist
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	info, err := os.Stat(path)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", err
	}
	mode, owner := info.Mode(), uint32(os.Geteuid())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = st.Uid
	}
	switch {
	case mode.IsDir():
		return "", fs.ErrNotExist
	case !mode.IsRegular() || mode&0o111 == 0:
		return "", fmt.Errorf("%s is no program: its mode is %v", path, mode)
	case mode&0o022 != 0:
		return "", fmt.Errorf("%s can be changed by others: its mode is %v", path, mode)
	case owner != 0 && owner != uint32(os.Geteuid()):
		return "", fmt.Errorf("%s belongs to uid %d, not to root", path, owner)
	}
	return path, nil
}
