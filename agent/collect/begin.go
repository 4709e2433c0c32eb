package collect

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// discover takes up files that are new.
func (c *Collector) discover(v *view) {
	for _, at := range v.find() {
		p := path.Join(at.path, at.name)
		err := accept(&at.st, &at.directory.st, c.uid)
		switch {
		case err != nil:
		case !usable(at.log):
			err = errNaming
		case c.following() >= maxFiles || len(c.state.Files) >= maxKnown && !c.unlearn(v):
			err = errManyFiles
		default:
			err = c.begin(v, at)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			c.trouble(v.Source, p, err)
		}
	}
}

// begin follows the file at, unless it is a copy that is being made of another.
func (c *Collector) begin(v *view, at *sight) error {
	h, st, err := at.open(at.name, c.uid)
	if err != nil {
		return err
	}
	if v.known[inodeOf(&st)] != nil || c.copying(v, at, h, st.Size) {
		h.Close()
		return nil
	}
	f := c.adopt(v, at, h, &st)
	c.noteSeen(f, h, &st)
	for _, o := range c.state.Files { // what is in its place by now is younger
		if o.Source == v.Name && o.current && o.Pos == 0 && related(path.Base(o.Path), at.name) {
			o.Order = c.number()
		}
	}
	return nil
}

// copying reports whether h, size bytes long, is what another file begins with.
// Until that is truncated, or this one turns out to be something else, nobody
// knows which of the two is read.
func (c *Collector) copying(v *view, at *sight, h *os.File, size int64) bool {
	for _, f := range c.state.Files {
		other, listed := v.byNode[inode{f.Dev, f.Ino}]
		if f.Source != v.Name || f.f == nil && !listed || !related(path.Base(f.Path), at.name) {
			continue
		}
		if size == 0 {
			return true
		}
		g, st, done, err := c.use(f, other)
		if err != nil {
			continue
		}
		same, err := f.grown(g, st.Size)
		copied := !same || err != nil || startOf(h, size, g, st.Size) // not the same: the next look knows
		done()
		if copied {
			return true
		}
	}
	return false
}

// adopt follows the file at, open as h, which is c's from then on.
func (c *Collector) adopt(v *view, at *sight, h *os.File, st *unix.Stat_t) *file {
	f := &file{
		mark: mark{Dev: uint64(st.Dev), Ino: st.Ino}, Source: v.Name, Path: at.log, MTime: st.Mtim.Nano(), Order: c.number(),
		listed: true, current: path.Join(at.path, at.name) == at.log,
	}
	_ = f.see(h, st.Size)
	c.state.Files = append(c.state.Files, f)
	v.known[inodeOf(st)] = f
	c.saved = false
	c.hold(f, h)
	return f
}

// unlearn gives up the oldest position of a file that has been gone for longest,
// or of a source that is there no more. Without it they would add up where one
// of a source's directories is missing, so that none of its files is known to be
// gone for good. It reports false if there is none.
func (c *Collector) unlearn(v *view) bool {
	var oldest *file
	for _, f := range c.state.Files {
		gone := f.Source == v.Name && f.f == nil && !f.listed || c.sources[f.Source] == nil
		if gone && (oldest == nil || f.Order < oldest.Order) {
			oldest = f
		}
	}
	if oldest == nil {
		return false
	}
	if oldest.Source == v.Name {
		c.lose(oldest)
	}
	c.forget(v, oldest)
	return true
}

// following returns how many files are followed.
func (c *Collector) following() (n int) {
	for _, f := range c.state.Files {
		if f.listed || f.f != nil {
			n++
		}
	}
	return n
}

// hold keeps h open for f, or closes what was, if h is nil. There is a bound to
// how many are; a file beyond it is opened when it is needed.
func (c *Collector) hold(f *file, h *os.File) {
	if f.f != nil && f.f != h {
		f.f.Close()
		f.f = nil
		c.open--
	}
	if h == nil || f.f == h {
		return
	}
	if c.open >= maxHeld {
		h.Close()
		return
	}
	f.f = h
	c.open++
}

func (c *Collector) closeFiles() {
	for _, f := range c.state.Files {
		c.hold(f, nil)
	}
}

// use opens f for as long as it takes, where it lies.
func (c *Collector) use(f *file, at *sight) (h *os.File, st *unix.Stat_t, done func(), err error) {
	st = new(unix.Stat_t)
	if f.f != nil {
		return f.f, st, func() {}, unix.Fstat(int(f.f.Fd()), st)
	}
	h, *st, err = at.open(at.name, c.uid)
	if err != nil {
		return nil, nil, nil, err
	}
	if inodeOf(st) != (inode{f.Dev, f.Ino}) {
		h.Close()
		return nil, nil, nil, unix.ENOENT // it is another one by now
	}
	if c.open < maxHeld {
		c.hold(f, h)
		return h, st, func() {}, nil
	}
	return h, st, func() { h.Close() }, nil
}
