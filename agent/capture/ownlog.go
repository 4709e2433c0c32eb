package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// off is above every level of a log.
const off = slog.Level(math.MaxInt32)

// An OwnLog keeps the agent's own log in a file, while it is asked to. Its lines
// are with the kernel as soon as they are written, so that they outlive a crash
// of the agent; a power cut may take those since the last excerpt.
type OwnLog struct {
	level slog.LevelVar
	form  slog.Handler  // writes a line here
	full  chan struct{} // has room for one: an excerpt should be made

	mu      sync.Mutex
	path    string
	file    *os.File // nil: none is kept
	size    int64
	max     int64
	skipped int // lines for which there was no room
	missing int // of them, since the last excerpt
	asked   bool
}

// NewOwnLog makes one whose lines are what form writes.
func NewOwnLog(form func(w io.Writer, level slog.Leveler) slog.Handler) *OwnLog {
	o := &OwnLog{full: make(chan struct{}, 1)}
	o.level.Set(off)
	o.form = form(o, &o.level)
	return o
}

// Handler passes everything to next, and what is asked for here too.
func (o *OwnLog) Handler(next slog.Handler) slog.Handler { return tee{next, o.form} }

// Skipped returns how many lines there was no room for.
func (o *OwnLog) Skipped() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.skipped
}

// at says where the log is, of which an earlier agent may have left some.
func (o *OwnLog) at(path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path != path {
		o.close()
		o.path = path
	}
}

// start keeps the log at path, from level up and in at most limit bytes.
func (o *OwnLog) start(path string, limit int64, level slog.Level) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.level.Set(level)
	o.max = limit
	if o.file != nil && o.path == path {
		return nil
	}
	o.close()
	o.path = path
	return o.open()
}

// stop keeps it no more. What there is stays for the next excerpt.
func (o *OwnLog) stop() {
	o.level.Set(off)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.close()
}

func (o *OwnLog) close() {
	if o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
}

// open goes on with the file. The caller holds mu.
func (o *OwnLog) open() error {
	if err := os.MkdirAll(filepath.Dir(o.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(o.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return err
	}
	o.file, o.size = f, info.Size()
	return nil
}

// Write takes a line of the log. It never fails: who logs can do nothing about
// it.
func (o *OwnLog) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return len(line), nil
	}
	if o.size+int64(len(line)) > o.max {
		o.skip()
		return len(line), nil
	}
	n, err := o.file.Write(line)
	o.size += int64(n)
	if err != nil {
		o.skip()
	}
	if o.size > o.max*3/4 {
		o.ask()
	}
	return len(line), nil
}

func (o *OwnLog) skip() {
	o.skipped++
	o.missing++
	o.ask()
}

func (o *OwnLog) ask() {
	if o.asked {
		return
	}
	o.asked = true
	select {
	case o.full <- struct{}{}:
	default:
	}
}

// rotate makes what there is an excerpt at path, durably, and returns its size.
func (o *OwnLog) rotate(fsys atomicfile.FS, path string) (size int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil { // it has been stopped
		if _, err := os.Lstat(o.path); errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		if err := o.open(); err != nil {
			return 0, err
		}
		defer o.close()
	}
	if o.size == 0 {
		return 0, nil
	}
	if o.missing > 0 {
		n, _ := fmt.Fprintf(o.file, "-- %d lines are missing, for there was no room --\n", o.missing)
		o.size += int64(n)
	}
	size = o.size
	if err := o.file.Sync(); err != nil {
		return 0, err
	}
	if err := fsys.Rename(o.path, path); err != nil {
		return 0, err
	}
	o.missing, o.asked = 0, false
	stopped := o.level.Level() == off
	o.close()
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return 0, err
	}
	if stopped {
		return size, nil
	}
	return size, o.open()
}

// A tee is two handlers, of which the first decides whether there was an error.
type tee struct{ first, second slog.Handler }

func (t tee) Enabled(ctx context.Context, l slog.Level) bool {
	return t.first.Enabled(ctx, l) || t.second.Enabled(ctx, l)
}

func (t tee) Handle(ctx context.Context, r slog.Record) error {
	if t.second.Enabled(ctx, r.Level) {
		_ = t.second.Handle(ctx, r.Clone())
	}
	if !t.first.Enabled(ctx, r.Level) {
		return nil
	}
	return t.first.Handle(ctx, r)
}

func (t tee) WithAttrs(as []slog.Attr) slog.Handler {
	return tee{t.first.WithAttrs(as), t.second.WithAttrs(as)}
}

func (t tee) WithGroup(name string) slog.Handler {
	return tee{t.first.WithGroup(name), t.second.WithGroup(name)}
}
