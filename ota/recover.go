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
	if err := r.sweep(); err != nil {
		return err
	}
	if r.rec.State == Idle {
		return nil
	}
	in, err := r.readIntent(r.rec.Txn)
	switch {
	case err == nil:
		r.held = in.File
	case r.rec.State == Selected:
		return r.end(Withdrawn, "intent unreadable: "+err.Error(), nil)
	case r.rec.State != Failed && r.rec.State != Withdrawn:
		return r.end(Failed, "intent unreadable: "+err.Error(), nil)
	}
	return nil
}

// salvage puts an unreadable record aside and fails the newest transaction.
func (r *room) salvage(cause error) error {
	for _, name := range []string{"state", "state.prev"} {
		err := r.fs.Rename(r.path(name), r.path("bad", name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	seq, txn, err := r.newest()
	if err != nil {
		return err
	}
	r.rec.Seq, r.rec.Since = seq, time.Now()
	if in, err := r.readIntent(txn); err == nil {
		r.rec.State, r.rec.Txn = Failed, txn
		r.rec.ID, r.rec.From, r.rec.To = in.File.ID, in.From, in.File.Version
		r.rec.Reason = "record unreadable: " + cause.Error()
	}
	return atomicfile.SaveRecord(r.fs, r.path("state"), r.rec)
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
