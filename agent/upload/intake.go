package upload

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	scanWatching = 5 * time.Minute  // between two looks when events tell of changes
	scanBlind    = 30 * time.Second // when they do not
)

// intake takes files from the drop box until ctx is done.
func (u *Uploader) intake(ctx context.Context) error {
	watcher, err := u.watch()
	if err != nil {
		u.Log.Warn("drop box is not watched, only looked at from time to time", "err", err)
		watcher = &fsnotify.Watcher{} // without events
	} else {
		defer watcher.Close()
	}
	u.note(func(s *Status) { s.Watching = err == nil })
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-watcher.Events:
			now := time.Now()
			if at := now.Add(settle); u.drop.heard(ev, now) && at.Before(due) {
				due = at
				timer.Reset(settle)
			}
			continue
		case err := <-watcher.Errors:
			u.Log.Debug("drop box events were lost", "err", err)
		case <-timer.C:
		}
		wait := scanBlind
		soon := u.pass(ctx)
		if err == nil {
			switch all, added := u.follow(watcher); {
			case added:
				wait = 0 // a file may have come before the watch
			case all:
				wait = scanWatching
			}
		}
		if soon > 0 {
			wait = min(wait, soon)
		}
		due = time.Now().Add(wait)
		timer.Reset(wait)
	}
}

// pass takes what can be taken now, and returns how long until there may be
// more; zero if nobody knows.
func (u *Uploader) pass(ctx context.Context) time.Duration {
	var failed error
	for _, seq := range slices.Sorted(maps.Keys(u.spool.pending)) {
		if err := u.complete(ctx, u.spool.pending[seq]); err != nil {
			failed = err
		}
	}
	u.makeDirs()
	now := time.Now()
	next, err := u.drop.scan(now, u.policy())
	if err != nil {
		failed = err
	}
	for _, c := range u.drop.ready {
		if ctx.Err() != nil {
			return 0
		}
		switch err := u.take(ctx, c); {
		case errors.Is(err, errOpen):
			if wait := u.drop.keptOpen(c.place, now); next == 0 || wait < next {
				next = wait
			}
		case err != nil && !errors.Is(err, os.ErrNotExist):
			u.drop.skip(c.place, err)
			if again := !permanent(err); again && (next == 0 || scanBlind < next) {
				next = scanBlind // once there is room
			}
		}
	}
	for _, s := range u.drop.news() {
		u.Log.Warn("file in the drop box is not taken", "file", s.Path, "err", s.Reason)
	}
	u.note(func(s *Status) {
		s.Skipped = u.drop.skipped
		s.IntakeError = ""
		if failed != nil && ctx.Err() == nil {
			s.IntakeError = failed.Error()
		}
	})
	return next
}

// permanent reports whether err, of taking a file, is of the file itself.
func permanent(err error) bool {
	return slices.ContainsFunc([]error{errLink, errSpecial, errDirectory, errNames, errForeign, errLarge, errClosed, errNoDir}, func(e error) bool { return errors.Is(err, e) })
}

// makeDirs makes the directories of the drop box that are missing. Where they
// cannot be made the scan says so.
func (u *Uploader) makeDirs() {
	for _, typ := range Types {
		dir := filepath.Join(u.Dir, typ)
		_ = os.MkdirAll(dir, 0o755)
		for _, m := range u.Modules {
			u.makeModule(dir, m)
		}
	}
}

// makeModule makes the directory of a module as open as that of its type, dir:
// other users could only make one that is theirs, from which nothing is taken.
func (u *Uploader) makeModule(dir, module string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil || !moduleKey(module) || root.Mkdir(module, 0o755) != nil {
		return
	}
	_ = root.Chmod(module, info.Mode()&(fs.ModePerm|fs.ModeSticky))
}

// follow watches the directories of the drop box, and reports whether all of
// them are watched and whether some were not before.
func (u *Uploader) follow(w *fsnotify.Watcher) (all, added bool) {
	watched := w.WatchList()
	all = true
	for dir := range u.drop.dirs {
		if slices.Contains(watched, dir) {
			continue
		}
		if w.Add(dir) != nil {
			all = false
			continue
		}
		added = true
	}
	return all, added
}

// heard takes in an event, and reports whether it is a reason to look.
func (d *dropBox) heard(ev fsnotify.Event, now time.Time) bool {
	rel, err := filepath.Rel(d.dir, ev.Name)
	if err != nil || rel == "." {
		return true
	}
	if !ev.Has(fsnotify.Create) && !ev.Has(fsnotify.Write) && !ev.Has(fsnotify.Chmod) {
		return d.dirs[ev.Name] // our own taking of a file is no news
	}
	if unfinished(filepath.Base(rel)) {
		return false
	}
	switch e := strings.Split(rel, "/"); len(e) {
	case 2:
		d.touched(place{e[0], "", e[1]}, now)
	case 3:
		d.touched(place{e[0], e[1], e[2]}, now)
	}
	return true
}
