// Package capture records what helps to mend a gateway, while the cloud asks
// for it: the journal, the kernel's messages and the agent's own log. What is
// recorded is handed over in excerpts, each a data file of its type.
//
// # What arrives once
//
// An excerpt is a file under a number. It is made durable first; then one
// record says that it is the newest and where the next one begins; then it is
// renamed into the queue. Whenever the agent ends, the file is unfinished and
// unknown, and is made anew from the same place; or it is known and still here,
// and is handed over at the next start; or it is in the queue. So nothing is
// doubled, and nothing is lost that the journal still has.
//
// # Where the kernel's messages come from
//
// From the journal: it has them with the boot that they belong to, and the
// agent may read it. For /dev/kmsg, where dmesg(1) reads, the agent would have
// to be given CAP_SYSLOG and a look at the devices; it is read only where there
// is no journalctl.
package capture

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// The types of data files, in the words of the cloud.
const (
	Journal = "journal"
	Kernel  = "dmesg"
	Own     = "debug"
)

// Types are all that can be recorded.
var Types = []string{Journal, Kernel, Own}

// A Level is what the cloud asks for.
type Level struct {
	On    bool
	Least slog.Level // of the agent's own log
}

// A Recorder records. Its fields are set before Run.
type Recorder struct {
	Dir     string        // of its files, which Hand renames
	Types   []string      // what is recorded, of Types
	Units   []string      // whose journal; none: everybody's
	Every   time.Duration // between two excerpts
	MaxFile int64         // bytes of an excerpt
	Daily   int64         // bytes of a type in a day
	History time.Duration // before the level was raised that the journal is read from

	Level func() (level Level, changed <-chan struct{})
	// Hand takes the file at path over under another name, or leaves it there
	// and says why.
	Hand   func(ctx context.Context, typ, name, path string) error
	Redact func(string) string // takes secrets out of a line
	Now    func() time.Time
	BootID string
	Log    *slog.Logger
	OwnLog *OwnLog
	FS     atomicfile.FS // atomicfile.OS if nil

	journalctl string   // the program; journalctl if empty
	kmsg       kmsgFile // opens /dev/kmsg if nil
	run        func(ctx context.Context, args []string, said io.Writer) (out io.Reader, wait func() error, err error)
	tracks     []*track // of Types
	status     latest.Value[[]Status]
}

// A Status tells what became of one type since the start.
type Status struct {
	Type    string
	Files   int
	Bytes   int64
	Last    time.Time // of the newest excerpt
	Skipped int       // lines of the own log for which there was no room
	Error   string
}

// Status returns that of each type.
func (r *Recorder) Status() []Status {
	s, _, _ := r.status.Get()
	return slices.Clone(s)
}

// Run records while it is asked to, until ctx is done. What cannot be read or
// kept is no reason to end: Status says so, and it is tried again.
func (r *Recorder) Run(ctx context.Context) error {
	r.open()
	timer := time.NewTimer(0)
	defer timer.Stop()
	on := false
	for ctx.Err() == nil {
		level, changed := r.Level()
		r.follow(level)
		timer.Stop()
		switch {
		case level.On:
			r.turn(ctx, !on)
			timer.Reset(r.Every)
		case !r.finish(ctx, on):
			timer.Reset(r.Every)
		}
		on = level.On
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		case <-r.OwnLog.full:
		}
	}
	return nil
}

// Listen has the own log kept from now on, if the level asks for it. Run does
// so too, but what is logged before it would be missing.
func (r *Recorder) Listen() {
	level, _ := r.Level()
	r.follow(level)
}

// follow has the own log keep what level asks for.
func (r *Recorder) follow(level Level) {
	if !level.On || !slices.Contains(r.Types, Own) {
		r.OwnLog.stop()
		return
	}
	err := r.OwnLog.start(r.ownLog(), r.MaxFile, level.Least)
	for _, t := range r.tracks {
		if t.typ == Own && err != nil {
			t.failed(r, err)
		}
	}
}

func (r *Recorder) ownLog() string { return filepath.Join(r.Dir, Own+".log") }

// turn records what there is of each type. At the first turn the level has just
// been raised, or the agent started.
func (r *Recorder) turn(ctx context.Context, first bool) {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		for _, t := range r.tracks {
			t.failed(r, err)
		}
		return
	}
	for _, t := range r.tracks {
		if first {
			t.begin(r)
		}
		t.drain(ctx, r)
	}
}

// finish ends the recording: what came until the level fell is handed over, and
// what an agent left that has ended before. It reports whether nothing is left.
func (r *Recorder) finish(ctx context.Context, was bool) bool {
	done := true
	for _, t := range r.tracks {
		if was || t.typ == Own {
			t.drain(ctx, r)
		} else {
			t.failed(r, t.hand(ctx, r))
		}
		if t.rec.Active {
			t.rec.Active = false
			t.failed(r, errors.Join(t.save(r), text(t.status.Error)))
		}
		_, err := os.Lstat(t.file(r, t.rec.Number))
		done = done && err != nil
	}
	return done
}

// text is an error that was told before.
func text(s string) error {
	if s == "" {
		return nil
	}
	return errors.New(s)
}

// open takes up what the agent left when it ended.
func (r *Recorder) open() {
	if r.FS == nil {
		r.FS = atomicfile.OS{}
	}
	if r.journalctl == "" {
		r.journalctl = "journalctl"
	}
	if r.kmsg == nil {
		r.kmsg = openKmsg
	}
	if r.run == nil {
		r.run = r.runJournalctl
	}
	r.OwnLog.at(r.ownLog())
	r.tracks = nil
	for _, typ := range Types {
		if slices.Contains(r.Types, typ) {
			r.tracks = append(r.tracks, r.recall(typ))
		}
	}
	r.publish()
}

// recall reads the record of typ, and removes what it does not know of.
func (r *Recorder) recall(typ string) *track {
	t := &track{typ: typ, status: Status{Type: typ}}
	_, err := atomicfile.LoadRecord(r.FS, t.path(r), &t.rec)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Log.Warn("place in the records lost, they begin anew", "type", typ, "err", err)
		t.rec = record{}
	}
	// One that is not known yet: whole, if it is the own log, and else unfinished.
	next := t.file(r, t.rec.Number+1)
	if _, err := os.Lstat(next); err == nil && typ == Own {
		t.rec.Number++
		t.failed(r, t.save(r))
	} else if err == nil {
		_ = r.FS.Remove(next)
	}
	return t
}

func (r *Recorder) publish() {
	all := make([]Status, 0, len(r.tracks))
	for _, t := range r.tracks {
		s := t.status
		if t.typ == Own {
			s.Skipped = r.OwnLog.Skipped()
		}
		all = append(all, s)
	}
	r.status.Set(all)
}
