package capture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/redact"
)

// A track is one type that is recorded.
type track struct {
	typ    string
	rec    record
	status Status
}

// A record is what must not be forgotten of a track.
type record struct {
	Number uint64 `json:"number"` // of the newest excerpt
	Active bool   `json:"active"` // the level was raised when it was written
	Day    int64  `json:"day"`    // in which Spent bytes were recorded
	Spent  int64  `json:"spent"`
	mark
}

// A mark is the place up to which a source has been read.
type mark struct {
	Since  time.Time `json:"since,omitzero"`   // where there is no cursor yet
	Cursor string    `json:"cursor,omitempty"` // of the journal's newest entry
	At     time.Time `json:"at,omitzero"`      // when that came
	Boot   string    `json:"boot,omitempty"`   // of the newest message
	Seq    uint64    `json:"seq,omitempty"`    // of the newest message of /dev/kmsg

	Keys redact.Keys `json:"keys,omitempty"` // of which what was read has no end
}

// errSpent means that a day's bytes are used up.
var errSpent = errors.New("as much was recorded today as diagnostics.daily_limit allows")

// worth is the least room that an excerpt is begun for, in bytes. An entry is
// smaller.
const worth = maxEntry + 1<<10

func (t *track) path(r *Recorder) string { return filepath.Join(r.Dir, t.typ) }

// file is the excerpt of that number.
func (t *track) file(r *Recorder, number uint64) string {
	return fmt.Sprintf("%s-%d.excerpt", t.path(r), number)
}

func (t *track) save(r *Recorder) error {
	return atomicfile.SaveRecord(r.FS, t.path(r), t.rec)
}

// failed notes what is wrong now, if err is not nil.
func (t *track) failed(r *Recorder, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != t.status.Error && text != "" {
		r.Log.Warn("diagnostics not recorded", "type", t.typ, "err", err)
	}
	t.status.Error = text
	r.publish()
}

// begin makes ready for a level that was raised, unless it had been when the
// agent ended.
func (t *track) begin(r *Recorder) {
	if t.rec.Active {
		return
	}
	t.rec.Active = true
	since := r.Now().Add(-r.History)
	if epoch := time.Unix(0, 0); since.Before(epoch) { // a clock that was never set; journalctl knows no time before
		since = epoch
	}
	if t.typ == Journal && t.rec.At.Before(since) {
		t.rec.mark = mark{Since: since}
	}
	if t.typ == Kernel && t.rec.Boot != r.BootID {
		t.rec.mark = mark{}
	}
	t.failed(r, t.save(r))
}

// drain records excerpts until there is nothing new.
func (t *track) drain(ctx context.Context, r *Recorder) {
	for ctx.Err() == nil {
		more, err := t.excerpt(ctx, r)
		if ctx.Err() == nil {
			t.failed(r, err)
		}
		if err != nil || !more {
			return
		}
	}
}

// excerpt records one excerpt, if there is anything new, and hands it over. It
// reports whether there is more.
func (t *track) excerpt(ctx context.Context, r *Recorder) (more bool, err error) {
	if err := t.hand(ctx, r); err != nil {
		return false, err
	}
	room, err := t.room(r)
	if err != nil {
		return false, err
	}
	number := t.rec.Number + 1
	path := t.file(r, number)
	next, written, more, err := t.record(ctx, r, path, room)
	if ctx.Err() != nil {
		return false, ctx.Err() // it may be cut short
	}
	if written == 0 {
		return false, err
	}
	before := t.rec
	t.rec.Number, t.rec.mark = number, next
	t.rec.Spent += written
	if serr := t.save(r); serr != nil {
		t.rec = before
		if t.typ != Own { // whose file is all there is
			_ = r.FS.Remove(path)
		}
		return false, serr
	}
	t.status.Last = r.Now()
	t.status.Files++
	t.status.Bytes += written
	r.publish()
	return more, errors.Join(t.hand(ctx, r), err)
}

// record makes the excerpt at path and returns where the next one begins.
func (t *track) record(ctx context.Context, r *Recorder, path string, room int64) (next mark, written int64, more bool, err error) {
	if t.typ == Own {
		if info, err := os.Lstat(path); err == nil { // whose number could not be saved: it must not be written over
			return t.rec.mark, info.Size(), true, nil
		}
		written, err = r.OwnLog.rotate(r.FS, path)
		return t.rec.mark, written, false, err
	}
	w, err := newWriter(r, path, room)
	if err != nil {
		return t.rec.mark, 0, false, err
	}
	next, more, err = t.read(ctx, r, w)
	written, cerr := w.close()
	return next, written, more, errors.Join(err, cerr)
}

// read reads what is new.
func (t *track) read(ctx context.Context, r *Recorder, w *writer) (mark, bool, error) {
	next, more, err := r.readJournal(ctx, t.rec.mark, t.typ == Kernel, w)
	if t.typ == Kernel && errors.Is(err, errNoJournalctl) {
		next, more, err = r.readKmsg(t.rec.mark, w)
	}
	if errors.Is(err, errCursor) { // it cannot come back: as if the level had been raised then, or at the boot
		t.rec.mark = mark{Since: t.rec.At, Keys: t.rec.Keys}
		next = t.rec.mark
	}
	return next, more, err
}

// room is how large an excerpt may become.
func (t *track) room(r *Recorder) (int64, error) {
	if day := r.Now().Unix() / (24 * 60 * 60); day != t.rec.Day {
		t.rec.Day, t.rec.Spent = day, 0
	}
	room := min(r.MaxFile, r.Daily-t.rec.Spent)
	if room < worth {
		return 0, errSpent
	}
	return room, nil
}

// hand hands over the newest excerpt, if it is still here.
func (t *track) hand(ctx context.Context, r *Recorder) error {
	path := t.file(r, t.rec.Number)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%s-%d.log", t.typ, info.ModTime().UTC().Format("20060102T150405Z"), t.rec.Number)
	return r.Hand(ctx, t.typ, name, path)
}
