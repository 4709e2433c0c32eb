package collect

import (
	"cmp"
	"errors"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// check brings what is known of a source's files up to date.
func (c *Collector) check(v *view, now time.Time) {
	gone := 0
	before := map[*file]int64{}
	for _, f := range slices.Clone(c.state.Files) {
		if f.Source != v.Name {
			continue
		}
		before[f] = f.MTime
		at, listed := v.byNode[inode{f.Dev, f.Ino}]
		current := listed && path.Join(at.path, at.name) == f.Path
		if f.current && !current {
			f.changed = now // whoever writes to it may not know yet
		}
		f.listed, f.current = listed, current
		switch {
		case listed:
			c.seeAgain(v, f, at, now)
		case f.f != nil:
			c.seeGone(f, now)
			if gone++; gone > maxGone || f.over && f.Pos == f.Size {
				c.lose(f)
				c.forget(v, f)
			}
		case v.whole:
			c.lose(f)
			c.forget(v, f)
		}
	}
	c.rotated(v, before)
}

// seeAgain looks at a file that is where others can see it.
func (c *Collector) seeAgain(v *view, f *file, at *sight, now time.Time) {
	if err := accept(&at.st, &at.directory.st, c.uid); err != nil {
		c.trouble(v.Source, path.Join(at.path, at.name), err)
		return
	}
	if f.changed.IsZero() {
		f.changed = now
	}
	if f.Size == 0 && f.current { // there is no print to know a copy of it by
		v.since[f.Path] = f.MTime
	}
	if at.st.Size == f.Size && at.st.Mtim.Nano() == f.MTime {
		f.over = !f.current && now.Sub(f.changed) >= settle
		if f.over && f.Pos == f.Size {
			c.hold(f, nil)
		}
		if f.f != nil || f.Pos == f.Size && !f.current {
			return
		}
	} else {
		f.changed, f.over = now, false
	}
	h, st, done, err := c.use(f, at)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) {
			c.trouble(v.Source, path.Join(at.path, at.name), err)
		}
		return
	}
	defer done()
	same, err := f.grown(h, st.Size)
	if err != nil {
		c.trouble(v.Source, f.Path, err)
		return
	}
	if !same && !f.current && !related(path.Base(f.Path), at.name) { // another file, with the number of one that is gone
		c.lose(f)
		c.forget(v, f)
		return
	}
	if !same {
		c.truncated(v, f, h, st)
		return
	}
	c.noteSeen(f, h, st)
}

// noteSeen takes the file as it is now for what it was.
func (c *Collector) noteSeen(f *file, h *os.File, st *unix.Stat_t) {
	if f.Pos == 0 && st.Size > 0 {
		f.Pos = firstData(h, st.Size)
	}
	if f.Size < printed && st.Size != f.Size { // the print of a few bytes is that of many files: it must not be what a restart goes by
		c.saved = false
	}
	if err := f.see(h, st.Size); err == nil {
		f.MTime = st.Mtim.Nano()
	}
}

// seeGone looks at a file that has no name any more where we look.
func (c *Collector) seeGone(f *file, now time.Time) {
	var st unix.Stat_t
	if f.changed.IsZero() {
		f.changed = now
	}
	if unix.Fstat(int(f.f.Fd()), &st) != nil {
		return
	}
	if st.Size == f.Size && st.Mtim.Nano() == f.MTime {
		f.over = now.Sub(f.changed) >= settle
		return
	}
	f.changed, f.over = now, false
	if same, err := f.grown(f.f, st.Size); same && err == nil {
		c.noteSeen(f, f.f, &st)
	}
}

// rotated notes which logs have another file in their place, or none, since
// they were seen last, which is before.
func (c *Collector) rotated(v *view, before map[*file]int64) {
	newest := map[string]*file{}
	for _, f := range c.state.Files {
		if f.Source == v.Name && (newest[f.Path] == nil || newest[f.Path].Order < f.Order) {
			newest[f.Path] = f
		}
	}
	for p, f := range newest {
		if since, old := before[f]; old && !f.current {
			v.since[p] = since
		}
	}
}

// truncated deals with a file, open as h, that has become shorter, or other.
func (c *Collector) truncated(v *view, f *file, h *os.File, st *unix.Stat_t) {
	t := c.sources[v.Name]
	t.Truncated++
	found := slices.ContainsFunc(v.copies(f), func(at *sight) bool { return c.copied(v, f, at) })
	if !found {
		c.lose(f)
	}
	c.Log.Info("collected file was truncated or replaced", "source", v.Name, "file", f.Path, "copy_found", found)
	// What was written to it since is younger than the rest of its copy.
	f.mark = mark{Dev: f.Dev, Ino: f.Ino}
	f.Order = c.number()
	c.saved = false
	c.noteSeen(f, h, st)
}

// copies returns what may be a copy of f: those first that nobody knows, and of
// those the oldest, for the prints of a short file are those of many.
func (v *view) copies(f *file) (list []*sight) {
	for _, s := range v.scans {
		for name, st := range s.files {
			if st.Size >= f.Size && st.Mtim.Nano() >= f.MTime && inodeOf(&st) != (inode{f.Dev, f.Ino}) && related(path.Base(f.Path), name) {
				list = append(list, &sight{s, name, st, f.Path})
			}
		}
	}
	strange := func(s *sight) int {
		if v.known[inodeOf(&s.st)] == nil {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b *sight) int {
		return cmp.Or(strange(a)-strange(b), cmp.Compare(a.st.Mtim.Nano(), b.st.Mtim.Nano()), cmp.Compare(b.name, a.name))
	})
	return list
}

// copied goes on with the copy at of f, if it is that.
func (c *Collector) copied(v *view, f *file, at *sight) bool {
	h, st, err := at.open(at.name, c.uid)
	if err != nil {
		return false
	}
	same, err := f.grown(h, st.Size)
	if !same || err != nil {
		h.Close()
		return false
	}
	k := v.known[inodeOf(&st)]
	if k == nil {
		k = c.adopt(v, at, h, &st)
	} else {
		h.Close()
	}
	k.Pos = max(k.Pos, f.Pos)
	if since := st.Mtim.Nano(); v.since[f.Path] < since {
		v.since[f.Path] = since
	}
	return true
}

// lose counts what was seen of f and cannot be read any more.
func (c *Collector) lose(f *file) {
	if n := f.Size - f.Pos; n > 0 {
		c.sources[f.Source].Lost += n
		c.Log.Warn("end of a collected file is lost", "source", f.Source, "file", f.Path, "bytes", n)
	}
}

// forget ends the following of f.
func (c *Collector) forget(v *view, f *file) {
	c.hold(f, nil)
	delete(v.known, inode{f.Dev, f.Ino})
	c.state.Files = slices.DeleteFunc(c.state.Files, func(o *file) bool { return o == f })
	c.saved = false
}
