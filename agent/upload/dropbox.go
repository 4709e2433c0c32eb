package upload

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	settle      = 2 * time.Second  // without a change, before a file is taken
	settleEmpty = 30 * time.Second // the same for an empty one
	// Of another user's file nobody tells us whether it is still open.
	settleForeign = 10 * time.Second
	settleMost    = time.Minute // between two looks at one that is kept open

	maxSeen    = 4096 // files that are followed at a time
	maxModules = 64   // directories below that of a type
	maxSkipped = 20   // files that Status names
)

// A dropBox is what intake knows of the files in Dir. Only intake touches it.
type dropBox struct {
	dir  string
	seen map[place]sighting
	dirs map[string]bool // that are watched

	skipped []Skipped // of this pass
	told    map[Skipped]bool
	ready   []candidate // of this pass
}

// A place is where a file lies in the drop box.
type place struct{ typ, module, name string }

func (p place) dir() string {
	if p.module == "" {
		return p.typ
	}
	return p.typ + "/" + p.module
}

// A sighting is what a file was when it was last looked at.
type sighting struct {
	known bool // false: only that something happened to it, at since
	id    identity
	since time.Time // of the last change
	open  int       // how often it was found open since then

	foreign bool // another user's
}

// ready returns when the file may be taken if nothing changes.
func (s *sighting) ready() time.Time {
	wait := min(settle<<min(s.open, 8), settleMost)
	if s.foreign {
		wait = max(wait, settleForeign)
	}
	if s.id.size == 0 {
		wait = max(wait, settleEmpty)
	}
	return s.since.Add(wait)
}

// A candidate is a file that may be taken.
type candidate struct {
	place
	id identity
}

func (d *dropBox) init(dir string) {
	d.dir = filepath.Clean(dir)
	d.seen, d.dirs, d.told = map[place]sighting{}, map[string]bool{}, map[Skipped]bool{}
}

// scan looks at every file in the drop box at now. It leaves the settled ones,
// oldest first, in ready, and returns how long until there may be more; zero if
// nobody knows.
func (d *dropBox) scan(now time.Time, may policy) (time.Duration, error) {
	before := d.seen
	d.seen, d.dirs = map[place]sighting{}, map[string]bool{}
	d.skipped, d.ready = nil, nil
	root, err := os.Open(d.dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	d.dirs[d.dir] = true
	p := pass{dropBox: d, before: before, now: now, may: may}
	err = each(root, func(name string) {
		if slices.Contains(Types, name) {
			p.directory(root, place{typ: name})
		} else {
			d.skip(place{typ: name}, errUnknown)
		}
	})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(d.ready, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.id.mtime, b.id.mtime), cmp.Compare(a.typ, b.typ),
			cmp.Compare(a.module, b.module), cmp.Compare(a.name, b.name))
	})
	return p.next, nil
}

// A pass is one scan of the drop box.
type pass struct {
	*dropBox
	before  map[place]sighting
	now     time.Time
	may     policy
	next    time.Duration
	modules int
}

// directory looks at what is in the directory at in, below parent.
func (p *pass) directory(parent *os.File, in place) {
	dir, err := enter(parent, cmp.Or(in.module, in.typ), p.may.uid)
	if err != nil {
		p.skip(in, err)
		return
	}
	defer dir.Close()
	p.dirs[p.dir+"/"+in.dir()] = true
	may := p.may.in(dir)
	err = each(dir, func(name string) {
		at := place{in.typ, in.module, name}
		st, err := look(dir, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			p.skip(at, err)
		case st.Mode&unix.S_IFMT == unix.S_IFDIR && in.module == "" && moduleKey(name) && p.modules < maxModules:
			p.modules++
			p.directory(dir, place{in.typ, name, ""})
		default:
			p.file(at, &st, may)
		}
	})
	if err != nil {
		p.skip(in, err)
	}
}

// file looks at one file.
func (p *pass) file(at place, st *unix.Stat_t, may policy) {
	err := may.accept(st)
	if err == nil {
		err = checkName(at.name)
	}
	if err != nil {
		p.skip(at, err)
		return
	}
	if len(p.seen) == maxSeen {
		p.again(settle) // when some of these have gone
		return
	}
	s, ok := p.before[at]
	id := identify(st)
	switch {
	case !ok:
		s.since = p.now
	case s.known && s.id != id:
		s.since, s.open = p.now, 0
	}
	s.known, s.id, s.foreign = true, id, !ours(st, may.uid)
	p.seen[at] = s
	if wait := s.ready().Sub(p.now); wait > 0 {
		p.again(wait)
		return
	}
	p.ready = append(p.ready, candidate{at, id})
}

// again asks for another look after wait.
func (p *pass) again(wait time.Duration) {
	if p.next == 0 || wait < p.next {
		p.next = wait
	}
}

// touched notes that something happened at path, now.
func (d *dropBox) touched(at place, now time.Time) {
	if s, ok := d.seen[at]; ok || len(d.seen) < maxSeen {
		d.seen[at] = sighting{id: s.id, since: now}
	}
}

// keptOpen notes that the file at was found open for writing, and returns when
// to look again.
func (d *dropBox) keptOpen(at place, now time.Time) time.Duration {
	s := d.seen[at]
	s.open++
	s.since = now
	d.seen[at] = s
	return s.ready().Sub(now)
}

// skip notes why the file at is not taken.
func (d *dropBox) skip(at place, why error) {
	path := at.typ
	if at.module != "" {
		path += "/" + at.module
	}
	if at.name != "" {
		path += "/" + at.name
	}
	if q := strconv.QuoteToGraphic(path); len(q) != len(path)+2 {
		path = q
	}
	if len(d.skipped) < maxSkipped {
		d.skipped = append(d.skipped, Skipped{clip(path, 256), why.Error()})
	}
}

// news returns those skipped in this pass that were not in the one before.
func (d *dropBox) news() []Skipped {
	var news []Skipped
	told := map[Skipped]bool{}
	for _, s := range d.skipped {
		if !d.told[s] {
			news = append(news, s)
		}
		told[s] = true
	}
	d.told = told
	return news
}

// each calls look with every name in dir but those of unfinished files.
func each(dir *os.File, look func(name string)) error {
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if !unfinished(name) {
				look(name)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
