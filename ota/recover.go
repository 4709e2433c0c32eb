package ota

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// settle brings the directory in line with the record.
func (r *room) settle() error {
	if r.lost {
		return nil
	}
	if err := r.sweep(); err != nil {
		return err
	}
	if r.rec.State == Idle {
		return nil
	}
	in, err := r.readIntent(r.rec.Txn)
	if err == nil {
		r.held, r.due = in.File, in.Due
		return nil
	}
	// Of an update that may have touched the system the record knows enough.
	r.held = File{ID: r.rec.ID, Module: r.rec.Module, Version: r.rec.To, Active: true}
	switch r.rec.State {
	case Selected:
		return r.end(Withdrawn, "intent unreadable: "+err.Error(), nil)
	case Downloading, Verified, Ready:
		return r.end(Failed, "intent unreadable: "+err.Error(), nil)
	}
	return nil
}

// maxBad is how many unreadable records are kept for people to look at.
const maxBad = 3

// salvage puts a copy of an unreadable record aside. What it was about is known
// from the newest transaction's intent, but not how far it came. The unreadable
// record stays until another takes its place, so that a cut changes nothing.
func (r *room) salvage(cause error) error {
	seq, txn, err := r.newest()
	if err != nil {
		return err
	}
	r.rec.Seq, r.rec.Since = seq, time.Now().UTC()
	if !errors.Is(cause, fs.ErrNotExist) {
		if err := r.quarantine(); err != nil {
			return err
		}
	}
	in, ierr := r.readIntent(txn)
	if ierr != nil {
		return atomicfile.SaveRecord(r.fs, r.path("state"), r.rec)
	}
	r.lost, r.held, r.due = true, in.File, in.Due
	r.rec.Txn, r.rec.ID, r.rec.From, r.rec.To = txn, in.File.ID, in.From, in.File.Version
	r.rec.AI = 1 // perhaps
	r.rec.Reason = "record unreadable: " + cause.Error()
	return nil
}

func (r *room) quarantine() error {
	names, err := r.fs.ReadDir(r.path("bad"))
	if err != nil || len(names) >= 2*maxBad {
		return err
	}
	for _, name := range []string{"state", "state.prev"} {
		data, err := r.fs.ReadFile(r.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = atomicfile.WriteFS(r.fs, r.path("bad", fmt.Sprintf("%08d.%s", r.rec.Seq, name)), data[:min(len(data), maxNotes)], 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recovered is where an update of which only the intent is known goes on, by
// what is installed.
func (r record) recovered(ev event, now moment) (record, effect) {
	switch {
	case errors.Is(ev.err, ErrNoInstaller), ev.err == nil && ev.result.Code == HookPrevious:
		return r.fail(r.Reason)
	case ev.err != nil || ev.result.Code == HookRunning:
		return r, effect{do: pause, after: askAgain, then: &effect{do: probe}}
	case ev.result.Code == HookActive:
		return r.verify()
	}
	return r.back(r.Reason, true, now)
}

// newest returns the highest sequence number that anything here has, and the
// newest transaction's directory, "" if there is none.
func (r *room) newest() (seq uint32, txn string, err error) {
	txns, err := r.fs.ReadDir(r.path("txn"))
	if err != nil {
		return 0, "", err
	}
	done, err := r.fs.ReadDir(r.path("done"))
	if err != nil {
		return 0, "", err
	}
	for _, name := range append(done, txns...) {
		head, _, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "-")
		if n, err := strconv.ParseUint(head, 10, 32); err == nil && uint32(n) >= seq {
			seq, txn = uint32(n), name
		}
	}
	if strings.HasSuffix(txn, ".json") {
		txn = ""
	}
	return seq, txn, nil
}

// sweep deletes what the record does not vouch for: half-written files, other
// transactions, old outcomes.
func (r *room) sweep() error {
	names, err := r.fs.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".tmp") {
			if err := r.fs.Remove(r.path(name)); err != nil {
				return err
			}
		}
	}
	txns, err := r.fs.ReadDir(r.path("txn"))
	if err != nil {
		return err
	}
	for _, name := range txns {
		if name != r.rec.Txn {
			if err := removeTree(r.fs, r.path("txn", name), 0); err != nil {
				return err
			}
		}
	}
	done, err := r.fs.ReadDir(r.path("done"))
	if err != nil {
		return err
	}
	for _, name := range done[:max(0, len(done)-keepDone)] {
		if err := r.fs.Remove(r.path("done", name)); err != nil {
			return err
		}
	}
	return nil
}

// removeTree deletes a directory and, not too deep, what is in it.
func removeTree(fsys FS, dir string, depth int) error {
	err := fsys.Remove(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if depth > 4 {
		return err
	}
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := removeTree(fsys, filepath.Join(dir, name), depth+1); err != nil {
			return err
		}
	}
	return fsys.Remove(dir)
}

// outcome tells how the transaction before ended, "" if there was none.
func (r *room) outcome() string {
	names, err := r.fs.ReadDir(r.path("done"))
	if err != nil || len(names) == 0 {
		return ""
	}
	var out outcome
	if err := r.readJSON(&out, "done", names[len(names)-1]); err != nil {
		return ""
	}
	return fmt.Sprintf("%s %v: %s", out.To, out.State, out.Reason)
}
