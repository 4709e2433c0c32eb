package conf

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	pollEvery = time.Minute
	settle    = 300 * time.Millisecond
	// settleAtMost bounds how long changes that follow on each other are
	// waited for.
	settleAtMost = 3 * time.Second
)

// A Watcher tells when files or directories have changed since it was made.
type Watcher struct {
	paths []string
	log   *slog.Logger
	open  func(*slog.Logger) *eventSource
	every time.Duration // between two looks
	seen  []stamp       // what changed was last called for
}

// Watch is a Watcher for paths. A change that happened before the call is not
// told: to miss none, make the Watcher before reading the files.
func Watch(ctx context.Context, paths []string, changed func()) error {
	return NewWatcher(paths, nil).Run(ctx, changed)
}

// NewWatcher takes down how paths are now. A path may be a file or a directory,
// of whose entries it then is, or nothing yet. log may be nil.
func NewWatcher(paths []string, log *slog.Logger) *Watcher {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{paths: paths, log: log, open: openInotify, every: pollEvery, seen: stamps(paths)}
}

// Run calls changed after each change, until ctx is done, and then returns nil.
// Changes that follow on each other within 300 ms count as one. Anything that
// stat(2) shows is a change: whoever is told compares the contents.
//
// Most changes come as events of the directories. Those that have none, such as
// a directory above that was replaced, are found within a minute by looking. Without
// inotify, which has limits of its own, that is how all are found.
func (w *Watcher) Run(ctx context.Context, changed func()) error {
	events := w.open(w.log)
	defer events.close()
	poll := time.NewTimer(0) // a first look, for what fell before the first event
	defer poll.Stop()
	quiet := time.NewTimer(settle)
	quiet.Stop()
	defer quiet.Stop()
	var since time.Time // the first sign of a change that is not yet told
	stirred := func() {
		if since.IsZero() {
			since = time.Now()
		}
		quiet.Reset(min(settle, max(0, settleAtMost-time.Since(since))))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events.names:
			if !ok {
				events.stop(fsnotify.ErrClosed)
			} else if events.concern(e.Name) {
				stirred()
			}
		case err, ok := <-events.errs:
			if !ok {
				err = fsnotify.ErrClosed
			}
			events.failed(err)
			stirred()
		case <-poll.C:
			if !events.stands() {
				events.follow(w.paths)
			}
			if since.IsZero() && w.differ() != nil {
				stirred()
			}
			poll.Reset(w.every)
		case <-quiet.C:
			since = time.Time{}
			events.follow(w.paths)
			if now := w.differ(); now != nil {
				w.seen = now
				changed()
			}
			poll.Reset(w.every)
		}
	}
}

// differ returns how the paths are now, or nil if that is how they were seen.
func (w *Watcher) differ() []stamp {
	now := stamps(w.paths)
	if slices.Equal(now, w.seen) {
		return nil
	}
	return now
}
