package collect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	settle   = 10 * time.Second // without a change, before a rotated file counts as complete
	maxHeld  = 64               // files that are held open
	maxGone  = 16               // of those, files without a name that are not read to their end
	maxPath  = 256              // bytes of a file's path, as the record of the positions has it
	maxSaved = 256              // bytes of a file's name
)

var (
	errManyFiles = fmt.Errorf("more than %d files match: the others are not followed", maxFiles)
	errNaming    = errors.New("its name cannot be used: too long, or not text")
)

// A scan is what one directory of a source holds in this pass.
type scan struct {
	directory
	source  *Source
	files   map[string]unix.Stat_t
	matched map[string]bool // by one of the source's patterns
}

// An inode is a file's number.
type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{uint64(st.Dev), st.Ino} }

// A sight is a file in a directory.
type sight struct {
	*scan
	name string
	st   unix.Stat_t
	log  string // the path of the log that it is a part of
}

// A view is what there is of one source in this pass.
type view struct {
	*Source
	scans  []*scan
	byNode map[inode]*sight
	known  map[inode]*file
	whole  bool             // every directory could be read
	since  map[string]int64 // paths whose rotations are to be looked for: those after that time
}

// see lists the directories of a source. The caller closes the view.
func (c *Collector) see(s *Source, w notifier) *view {
	v := &view{Source: s, byNode: map[inode]*sight{}, known: map[inode]*file{}, whole: true, since: map[string]int64{}}
	for _, pattern := range s.Files {
		walk := walk{uid: c.uid,
			visit: func(d directory, pattern string) { c.list(v, d, pattern, w) },
			fault: func(at string, err error) {
				v.whole = false // what is not there may be mounted later
				if !errors.Is(err, fs.ErrNotExist) {
					c.trouble(s, at, err)
				}
			}}
		walk.pattern(pattern)
	}
	for _, f := range c.state.Files {
		if f.Source == s.Name {
			v.known[inode{f.Dev, f.Ino}] = f
		}
	}
	return v
}

// list adds the directory d to the view.
func (c *Collector) list(v *view, d directory, pattern string, w notifier) {
	i := slices.IndexFunc(v.scans, func(s *scan) bool { return s.path == d.path })
	if i < 0 {
		w.watch(d.path)
		fd, err := unix.FcntlInt(d.fd.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			c.trouble(v.Source, d.path, err)
			return
		}
		d.fd = os.NewFile(uintptr(fd), d.path)
		sc := &scan{directory: d, source: v.Source, files: map[string]unix.Stat_t{}, matched: map[string]bool{}}
		i = len(v.scans)
		v.scans = append(v.scans, sc)
		err = names(d.fd, func(name string) {
			var st unix.Stat_t
			if unix.Fstatat(int(d.fd.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
				sc.files[name] = st
				v.byNode[inodeOf(&st)] = &sight{sc, name, st, ""}
			}
		})
		if err != nil {
			v.whole = false
			c.trouble(v.Source, d.path, err)
		}
	}
	for name := range v.scans[i].files {
		if ok, _ := path.Match(pattern, name); ok && !compressed(name) {
			v.scans[i].matched[name] = true
		}
	}
}

func (v *view) close() {
	for _, s := range v.scans {
		s.fd.Close()
	}
}

// find returns what may be new files of a source, those that were written last
// at the end: what matches a pattern, and rotations that nobody saw.
func (v *view) find() (list []*sight) {
	for _, s := range v.scans {
		for name, st := range s.files {
			if v.known[inodeOf(&st)] != nil {
				continue
			}
			if s.matched[name] {
				list = append(list, &sight{s, name, st, path.Join(s.path, name)})
				continue
			}
			for log, since := range v.since {
				if path.Dir(log) == s.path && related(path.Base(log), name) && st.Mtim.Nano() >= since && st.Mode&unix.S_IFMT == unix.S_IFREG {
					list = append(list, &sight{s, name, st, log})
					break
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b *sight) int {
		return cmp.Or(cmp.Compare(a.st.Mtim.Nano(), b.st.Mtim.Nano()), cmp.Compare(b.name, a.name))
	})
	return list
}

// related reports whether name is what a rotation makes of base: app.log.1,
// app.log-20260101, app-20260101.log.
func related(base, name string) bool {
	stem := strings.TrimSuffix(base, path.Ext(base))
	ext := strings.TrimPrefix(base, stem)
	if compressed(name) {
		return false
	}
	if what, ok := strings.CutPrefix(name, base); ok && counted(what) {
		return true
	}
	what, ok := strings.CutPrefix(name, stem)
	what, ends := strings.CutSuffix(what, ext)
	return ok && ends && stem != "" && ext != "" && counted(what)
}

// counted reports whether a rotation adds s to a name: a number, or a time.
func counted(s string) bool {
	if len(s) < 2 || s[0] != '.' && s[0] != '-' {
		return false
	}
	return s[1:] == "old" || strings.ContainsAny(s, "0123456789") && strings.Trim(s, "0123456789.-_:TZ") == ""
}

// compressed reports whether name is that of a file which is, or is about to
// be, of no lines.
func compressed(name string) bool {
	return slices.Contains([]string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".tmp", ".part"}, path.Ext(name))
}

// usable reports whether a path may be told of.
func usable(p string) bool {
	quoted, _ := json.Marshal(p) // a string always can be
	return len(quoted) <= maxPath+len(`""`) && len(path.Base(p)) < maxSaved-16 && utf8.ValidString(p) &&
		!strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsGraphic(r) })
}

// trouble notes the first of what keeps a source from its files.
func (c *Collector) trouble(s *Source, at string, err error) {
	if t := c.sources[s.Name]; t.Error == "" {
		t.Error = fmt.Sprintf("%q: %v", at, err)
	}
}
