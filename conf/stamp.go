package conf

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// maxEntries bounds how many entries of a directory are looked at.
const maxEntries = 4096

// A fileID tells a file from another that has taken its name.
type fileID struct{ dev, ino uint64 }

// A stamp is what stat(2) says of a file that changes when the file does.
type stamp struct {
	path         string
	id           fileID
	mode         uint32
	size         int64
	mtime, ctime syscall.Timespec
	err          syscall.Errno // 0 if it is there
}

func stampOf(path string) stamp {
	s := stamp{path: path}
	info, err := os.Stat(path)
	if err != nil {
		if !errors.As(err, &s.err) {
			s.err = syscall.EIO
		}
		return s
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.id = fileID{uint64(st.Dev), st.Ino}
		s.mode, s.size, s.mtime, s.ctime = st.Mode, st.Size, st.Mtim, st.Ctim
	}
	return s
}

func (s stamp) isDir() bool { return s.err == 0 && s.mode&syscall.S_IFMT == syscall.S_IFDIR }

// stamps are those of paths, and of the entries of those that are directories.
func stamps(paths []string) (all []stamp) {
	for _, p := range paths {
		s := stampOf(p)
		if !s.isDir() {
			all = append(all, s)
			continue
		}
		// Its entries say what changed, and hidden ones do not count.
		s.size, s.mtime, s.ctime = 0, syscall.Timespec{}, syscall.Timespec{}
		all = append(all, s)
		for _, name := range entries(p) {
			all = append(all, stampOf(filepath.Join(p, name)))
		}
	}
	return all
}

// entries are the names in dir, sorted, without the hidden ones: temporary
// files are called so.
func entries(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(maxEntries)
	names = slices.DeleteFunc(names, hidden)
	slices.Sort(names)
	return names
}

func hidden(name string) bool { return name[0] == '.' }
