package collect

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxLine   = 16 << 20 // bytes of a line that is still waited for
	maxStaged = 16       // data files between two savings of the positions
)

// pass looks at all files and takes of them what is due. It returns how long
// until there may be more.
func (c *Collector) pass(ctx context.Context, now time.Time, w notifier) time.Duration {
	for _, s := range c.sources {
		s.Error = ""
	}
	wait := lookMost
	for i := range c.Sources {
		wait = min(wait, c.source(ctx, &c.Sources[i], now, w))
	}
	w.settle()
	c.count()
	return max(wait, lookSoon)
}

// source is a pass of one source.
func (c *Collector) source(ctx context.Context, s *Source, now time.Time, w notifier) time.Duration {
	v := c.see(s, w)
	defer v.close()
	c.check(v, now)
	c.discover(v)
	if !c.saved || len(c.unreleased) > 0 { // before anything depends on it
		if err := c.release(); err != nil {
			c.trouble(s, c.State, err)
			return lookMost
		}
	}
	return c.collect(ctx, v, now)
}

// A queueError is of the queue, for all files, and not of one.
type queueError struct{ error }

func (e queueError) Unwrap() error { return e.error }

// A rest is how long nothing of a source is staged, and why: what the queue has
// no room for must not be tried again at everything that happens.
type rest struct {
	until time.Time
	at    string
	err   error
}

// collect makes data files of what is due of a source, and returns when more
// will be.
func (c *Collector) collect(ctx context.Context, v *view, now time.Time) time.Duration {
	if r, rests := c.resting[v.Name]; rests && now.Before(r.until) {
		c.trouble(v.Source, r.at, r.err)
		return r.until.Sub(now)
	}
	delete(c.resting, v.Name)
	due := !now.Before(c.due[v.Name])
	if due {
		c.due[v.Name] = now.Add(v.Every)
	}
	rotated := 0
	for _, f := range c.state.Files {
		if f.f != nil && !f.current {
			rotated++
		}
	}
	files := slices.Clone(c.state.Files)
	last := map[string]int{} // by log: the youngest of its files that is to be taken, and all before it are
	for i, f := range files {
		gone, crowd := !f.listed && f.f != nil, !f.current && rotated >= maxGone
		if f.Source == v.Name && (due || gone || crowd || f.Size-f.Pos >= v.Size) {
			last[f.log()] = i
		}
	}
	held := map[string]bool{} // logs one of whose files cannot be read: what follows it waits
	for i, f := range files {
		youngest, some := last[f.log()]
		if f.Source != v.Name || !some || i > youngest || held[f.log()] || ctx.Err() != nil {
			continue
		}
		if err := c.take(ctx, v, f); err != nil && ctx.Err() == nil {
			c.trouble(v.Source, f.Path, err)
			held[f.log()] = true
			again := now.Add(min(v.Every, lookMost))
			c.due[v.Name] = again
			if errors.As(err, new(queueError)) {
				c.resting[v.Name] = rest{again, f.Path, err}
				break
			}
		}
	}
	if len(c.unreleased) > 0 {
		if err := c.release(); err != nil {
			c.trouble(v.Source, c.State, err)
		}
	}
	return c.due[v.Name].Sub(now)
}

// release makes durable how far the files are read, and lets go what was staged.
func (c *Collector) release() error {
	if err := c.save(); err != nil {
		return err
	}
	c.Queue.Release(c.unreleased...)
	c.unreleased = nil
	return nil
}

// take stages what there is of f in whole lines.
func (c *Collector) take(ctx context.Context, v *view, f *file) error {
	at, listed := v.byNode[inode{f.Dev, f.Ino}]
	if f.Pos == f.Size || f.f == nil && !listed {
		return nil
	}
	h, _, done, err := c.use(f, at)
	if err != nil {
		return err
	}
	defer done()
	for f.Pos < f.Size {
		end, err := f.cut(h, v.Size)
		if err != nil || end == 0 {
			return err
		}
		after := file{mark: f.mark, Source: f.Source, Path: f.Path, MTime: f.MTime, Order: f.Order}
		after.Pos = end
		o := origin{c.number(), after}
		part := &exactly{io.NewSectionReader(h, f.Pos, end-f.Pos), end - f.Pos}
		id, err := c.Queue.Stage(ctx, v.Type, v.Module, dataName(path.Base(f.Path), o.N), o.String(), part)
		if err != nil {
			return queueError{err}
		}
		// Only what is still the same file afterwards was one during the reading.
		var st unix.Stat_t
		same := false
		if err = unix.Fstat(int(h.Fd()), &st); err == nil {
			same, err = f.grown(h, st.Size)
		}
		if !same || err != nil {
			return errors.Join(err, c.Queue.Discard(id))
		}
		f.Pos = end
		c.sources[v.Name].Collected++
		if c.unreleased = append(c.unreleased, id); len(c.unreleased) >= maxStaged {
			if err := c.release(); err != nil {
				return queueError{err}
			}
		}
	}
	return nil
}

// count publishes how things are.
func (c *Collector) count() {
	for _, s := range c.sources {
		s.Files, s.Behind = 0, 0
	}
	for _, f := range c.state.Files {
		if s := c.sources[f.Source]; s != nil && (f.listed || f.f != nil) {
			s.Files++
			s.Behind += f.Size - f.Pos
		}
	}
	c.publish()
}
