package ota

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A room is a module's part of the state directory. One goroutine owns it.
type room struct {
	fs   FS
	dir  string
	rec  record
	held File    // of the transaction; valid unless Idle
	due  promise // of held
	// lost is set while it is unknown what was under way: the hook must be asked.
	lost bool
}

// openRoom makes or recovers the room of a module in dir. Where a record is
// unreadable, or missing beside a transaction, the room is lost until the hook
// has told what is installed: unknown is not idle.
func openRoom(fsys FS, dir, module string) (*room, error) {
	r := &room{fs: fsys, dir: filepath.Join(dir, module), rec: record{Fmt: recordFormat, Module: module}}
	for _, d := range []string{r.dir, r.path("txn"), r.path("done"), r.path("bad")} {
		if err := fsys.Mkdir(d); err != nil {
			return nil, err
		}
	}
	for _, d := range []string{dir, r.dir} {
		if err := fsys.SyncDir(d); err != nil {
			return nil, err
		}
	}
	var rec record
	switch _, err := atomicfile.LoadRecord(fsys, r.path("state"), &rec); {
	case err == nil && rec.Fmt != recordFormat:
		return nil, fmt.Errorf("module %s is %v: %w", module, rec.State, errForeign)
	case err == nil && rec.Module != module:
		return nil, fmt.Errorf("record of module %s names %s", module, quote(rec.Module))
	case err == nil:
		r.rec = rec
	case errors.Is(err, atomicfile.ErrCorrupt), errors.Is(err, fs.ErrNotExist):
		if err := r.salvage(err); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	return r, r.settle()
}

// begin makes f the release that is worked on.
func (r *room) begin(f File, from Version, policy Policy) error {
	if err := f.Check(); err != nil {
		return err
	}
	due, err := f.promised()
	if err != nil {
		return err
	}
	seq := r.rec.Seq + 1
	txn := fmt.Sprintf("%08d-%s", seq, f.ID)
	if err := r.fs.Mkdir(r.path("txn", txn)); err != nil {
		return err
	}
	in := intent{Seq: seq, File: f, From: from, Policy: policy, Created: time.Now().UTC(), Due: due}
	if err := r.writeJSON(in, "txn", txn, "intent.json"); err != nil {
		return err
	}
	if err := r.fs.SyncDir(r.path("txn")); err != nil {
		return err
	}
	err = r.move(Selected, func(rec *record) {
		rec.Seq, rec.Txn, rec.ID, rec.From, rec.To = seq, txn, f.ID, from, f.Version
	})
	if err == nil {
		r.held, r.due = f, due
	}
	return err
}

// move makes the record name the next phase, with what change adds.
func (r *room) move(to Phase, change func(*record)) error {
	if !r.rec.State.MayBecome(to) {
		return fmt.Errorf("module %s: %v does not follow %v", r.rec.Module, to, r.rec.State)
	}
	next := r.rec
	next.State = to
	if change != nil {
		change(&next)
	}
	return r.put(next)
}

// put makes next the record. Nothing has changed if the table does not allow it;
// after another error only the disk knows which of both is in force.
func (r *room) put(next record) error {
	if next.State != r.rec.State && !r.lost && !r.rec.State.MayBecome(next.State) {
		return fmt.Errorf("module %s: %v does not follow %v", r.rec.Module, next.State, r.rec.State)
	}
	if next.State != r.rec.State || next.Since.IsZero() {
		next.Since = time.Now().UTC()
	}
	next.Writes++
	if err := atomicfile.SaveRecord(r.fs, r.path("state"), next); err != nil {
		return fmt.Errorf("save record of module %s: %w", r.rec.Module, err)
	}
	r.rec, r.lost = next, false
	return nil
}

// end gives the transaction its outcome and then clears it away.
func (r *room) end(how Phase, reason string, deny *denial) error {
	if err := r.move(how, func(rec *record) { rec.Reason, rec.Deny = reason, deny }); err != nil {
		return err
	}
	return r.clear()
}

// clear forgets a transaction that has its outcome: outcome and denial are
// durable before the record is, and that before anything is deleted.
func (r *room) clear() error {
	rec := r.rec
	out := outcome{
		Seq: rec.Seq, State: rec.State, ID: rec.ID, Module: rec.Module,
		From: rec.From, To: rec.To, Reason: rec.Reason, Finished: rec.Since,
	}
	if err := r.writeJSON(out, "done", fmt.Sprintf("%08d.json", rec.Seq)); err != nil {
		return err
	}
	if rec.Deny != nil {
		if err := r.deny(*rec.Deny); err != nil {
			return err
		}
	}
	err := r.move(Idle, func(next *record) {
		*next = record{Fmt: recordFormat, Seq: rec.Seq, Module: rec.Module, BootID: rec.BootID, Process: rec.Process}
	})
	if err != nil {
		return err
	}
	r.held = File{}
	return r.sweep()
}

// txn returns the directory of the transaction.
func (r *room) txn() string { return r.path("txn", r.rec.Txn) }

// payload returns the payload that the record tells of.
func (r *room) payload() Payload {
	return Payload{Path: filepath.Join(r.txn(), "payload"), Size: r.rec.Size, SHA256: r.rec.SHA256}
}

func (r *room) readIntent(txn string) (in intent, err error) {
	if txn == "" {
		return in, errors.New("no transaction")
	}
	if err := r.readJSON(&in, "txn", txn, "intent.json"); err != nil {
		return in, err
	}
	return in, in.File.Check()
}

func (r *room) path(elem ...string) string {
	return filepath.Join(append([]string{r.dir}, elem...)...)
}

func (r *room) writeJSON(v any, elem ...string) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.WriteFS(r.fs, r.path(elem...), append(data, '\n'), 0o600)
}

func (r *room) readJSON(v any, elem ...string) error {
	data, err := r.fs.ReadFile(r.path(elem...))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
