package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// journalName ends the name of a journal that is kept beside its file.
const journalName = "journal"

// A journal is what an overwrite is about to do, kept until it is done. Having
// both texts, one can tell a torn file from one that somebody has edited since.
type journal struct {
	Target        string
	Before, After []byte
}

// torn reports whether now is what a crash can make of an overwrite: each byte
// is that of one of the two texts, or a zero that was never written.
func (j journal) torn(now []byte) bool {
	if bytes.Equal(now, j.Before) || bytes.Equal(now, j.After) || len(now) > max(len(j.Before), len(j.After)) {
		return false
	}
	for i, c := range now {
		old := i < len(j.Before) && c == j.Before[i]
		if !old && (i >= len(j.After) || c != j.After[i]) && c != 0 {
			return false
		}
	}
	return true
}

func (w Writer) journalPath(target string) string {
	if w.Journal != "" {
		return filepath.Join(w.Journal, "identity."+journalName)
	}
	dir, base := filepath.Split(target)
	return dir + "." + base + mark + journalName
}

// Recover mends the file that path leads to if a crash has torn it. It is for
// the start, before the file is read.
func (w Writer) Recover(path string) error {
	writing.Lock()
	defer writing.Unlock()
	target, err := w.fs().Resolve(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = w.recover(target)
	}
	if err != nil {
		return fmt.Errorf("recover %s: %w", path, err)
	}
	return nil
}

func (w Writer) recover(target string) error {
	path := w.journalPath(target)
	var j journal
	_, err := atomicfile.LoadRecord(w.fs(), path, &j)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && j.Target == target {
		now, err := w.fs().ReadFile(target)
		if err != nil {
			return unreadable(err)
		}
		if j.torn(now) {
			if err := w.finish(target, j.After); err != nil {
				return fmt.Errorf("finish what a crash cut off: %w", err)
			}
		}
	}
	w.removeJournal(path)
	return nil
}

func (w Writer) finish(target string, after []byte) error {
	f, err := w.fs().Overwrite(target)
	if err != nil {
		return err
	}
	err = change(f, nil, after)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (w Writer) removeJournal(path string) {
	for _, name := range []string{path, path + ".prev", path + ".tmp", path + ".prev.tmp"} {
		_ = w.fs().Remove(name)
	}
}

// overwrite changes target where it is. It goes ahead without a journal where
// none can be written: the token itself is safe in the agent's own state.
func (w Writer) overwrite(target string, before, after []byte) (err error) {
	f, err := w.fs().Overwrite(target)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	path := w.journalPath(target)
	_ = atomicfile.SaveRecord(w.fs(), path, journal{target, before, after})
	if err := change(f, before, after); err != nil {
		if change(f, nil, before) == nil {
			w.removeJournal(path)
		}
		return err
	}
	w.removeJournal(path)
	return nil
}

// change turns the bytes of f from before to after, and writes only those
// between the first and the last that differ.
func change(f Overwriter, before, after []byte) error {
	from, to := 0, len(after)
	for from < min(len(before), to) && before[from] == after[from] {
		from++
	}
	for len(before) == len(after) && to > from && before[to-1] == after[to-1] {
		to--
	}
	if _, err := f.WriteAt(after[from:to], int64(from)); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(after))); err != nil {
		return err
	}
	return f.Sync()
}
