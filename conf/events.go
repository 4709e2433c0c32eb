package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// An eventSource is inotify, or nothing where there is none to be had.
type eventSource struct {
	watcher *fsnotify.Watcher // nil: looking has to do
	names   <-chan fsnotify.Event
	errs    <-chan error
	errors  int
	where   sources
	log     *slog.Logger
}

func openInotify(log *slog.Logger) *eventSource {
	return newEventSource(fsnotify.NewWatcher, log)
}

func newEventSource(notify func() (*fsnotify.Watcher, error), log *slog.Logger) *eventSource {
	e := &eventSource{log: log}
	watcher, err := notify()
	if err != nil {
		e.stop(err)
		return e
	}
	e.watcher, e.names, e.errs = watcher, watcher.Events, watcher.Errors
	return e
}

func (e *eventSource) close() {
	if e.watcher != nil {
		_ = e.watcher.Close()
	}
}

// stop goes on without events. It is said once, for there is no way back.
func (e *eventSource) stop(err error) {
	e.log.Warn("file changes are looked for every minute only", "err", fmt.Errorf("inotify: %w", err))
	e.close()
	e.watcher, e.names, e.errs = nil, nil, nil
}

// failed takes an error that came instead of an event. Single ones are harmless,
// such as an overflow or a watch that the kernel had already removed.
func (e *eventSource) failed(err error) {
	const most = 100
	if e.errors++; e.errors > most || errors.Is(err, fsnotify.ErrClosed) {
		e.stop(err)
	}
}

// follow watches the directories that matter for paths, and no others. What was
// made on the way to them between the look and the watch sends no event: it
// looks again until there is nothing new.
func (e *eventSource) follow(paths []string) {
	for range maxFollow {
		if e.names == nil || !e.followOnce(paths) {
			return
		}
	}
}

// stands reports whether the directories that matter are still those that are
// watched. It asks the kernel once for each of them; to trace the paths anew
// takes a question for each part of each.
func (e *eventSource) stands() bool {
	if e.watcher == nil || len(e.where.dirs) == 0 {
		return false
	}
	watched := e.watcher.WatchList()
	for dir, id := range e.where.dirs {
		if !slices.Contains(watched, dir) || stampOf(dir).id != id {
			return false
		}
	}
	for name := range e.where.missing {
		if _, err := os.Lstat(name); err == nil {
			return false
		}
	}
	return true
}

// maxFollow bounds how often directories that are being made are run after.
const maxFollow = 10

// followOnce reports whether it had to watch another directory.
func (e *eventSource) followOnce(paths []string) (more bool) {
	was := e.where
	e.where = sourcesOf(paths)
	if e.watcher == nil {
		return false // names come from elsewhere
	}
	watched := e.watcher.WatchList()
	for _, dir := range watched {
		if was.dirs[dir] != e.where.dirs[dir] {
			_ = e.watcher.Remove(dir) // fails if the kernel was faster
		}
	}
	for dir, id := range e.where.dirs {
		if was.dirs[dir] == id && slices.Contains(watched, dir) {
			continue
		}
		// A directory that went away meanwhile, or that may not be read, is
		// left to the next look.
		if err := e.watcher.Add(dir); exhausted(err) {
			e.stop(err)
			return false
		} else if err == nil {
			more = true
		}
	}
	return more
}

func exhausted(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// concern reports whether an event about name may be one about the paths.
func (e *eventSource) concern(name string) bool {
	name = filepath.Clean(name)
	return e.where.names[name] || e.where.inside[filepath.Dir(name)] && !hidden(filepath.Base(name))
}

// sources says where events about paths come from.
type sources struct {
	dirs    map[string]fileID // directories to watch
	names   map[string]bool   // what events must be about
	inside  map[string]bool   // or be in
	missing map[string]bool   // where a path ended early
}

func sourcesOf(paths []string) sources {
	s := sources{map[string]fileID{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, p := range paths {
		if p, err := filepath.Abs(p); err == nil {
			s.trace(p)
		}
	}
	return s
}

// trace adds the directory that path is in, those of the symbolic links on the
// way to it, and path itself if it is a directory. If something is missing on
// the way it is the directory where that should be.
func (s sources) trace(path string) {
	at, rest := "/", strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		target, err := os.Readlink(next)
		switch {
		case err == nil:
			s.add(at, next)
			if links++; links > 40 { // as the kernel does
				return
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		case !errors.Is(err, unix.EINVAL): // missing, or not for us to see
			s.add(at, next)
			s.missing[next] = true
			return
		case strings.Trim(strings.Join(rest, ""), "./") == "":
			s.add(at, next)
			if stampOf(next).isDir() {
				s.add(next, next)
				s.inside[next] = true
			}
			return
		}
		at = next
	}
}

// add watches dir for events about name and about dir itself.
func (s sources) add(dir, name string) {
	if d := stampOf(dir); d.isDir() {
		s.dirs[dir] = d.id
	}
	s.names[dir], s.names[name] = true, true
}
