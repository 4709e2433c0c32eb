package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// take moves the settled file c from the drop box into the spool. It returns
// errOpen when that has to wait.
func (u *Uploader) take(ctx context.Context, c candidate) error {
	dir, err := u.dropDir(c.typ, c.module)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, st, err := openFile(dir, c.name, u.policy().in(dir))
	switch {
	case errors.Is(err, unix.ELOOP):
		return errLink
	case errors.Is(err, unix.EACCES):
		return errClosed
	case err != nil:
		return err
	}
	defer f.Close()
	if identify(&st) != c.id || beingWritten(f) {
		return errOpen
	}
	added, dated := u.Now()
	rec := record{
		Type: c.typ, Module: c.module, Name: c.name,
		Size: st.Size, MTime: st.Mtim.Nano(), Added: added, Dated: dated,
	}
	if err := u.room(&rec); err != nil {
		return err
	}
	rec.Seq = u.spool.number()
	if err := u.spool.save(&rec); err != nil {
		return err
	}
	err = error(unix.EXDEV)
	if ours(&st, u.uid) {
		err = u.box.move(dir, c.name, u.spool.path(rec.Seq, "data"))
	}
	if errors.Is(err, unix.EXDEV) {
		// Another file system, or the same one behind another mount point, as
		// a sandbox has it, or another user's file, who could go on writing to
		// it: copy, under a name that says whose copy it is.
		rec.Copying = true
		if err = u.spool.save(&rec); err == nil {
			err = u.box.hide(dir, c.name, takenName(rec.Seq))
		}
	}
	if err != nil {
		return errors.Join(err, u.spool.erase(rec.Seq))
	}
	_ = dir.Sync() // lest it be in both places after a power cut
	u.spool.pending[rec.Seq] = rec
	return u.complete(ctx, rec)
}

// complete brings a pending record to an end: it becomes an item, or goes into
// quarantine, or turns out never to have begun.
func (u *Uploader) complete(ctx context.Context, rec record) error {
	if rec.Copying {
		switch begun, err := u.copyTaken(ctx, &rec); {
		case err != nil:
			return fmt.Errorf("copy %s: %w", rec.Name, err)
		case !begun:
			delete(u.spool.pending, rec.Seq)
			return u.spool.erase(rec.Seq)
		}
	}
	st, err := u.spool.settleData(rec.Seq, u.policy())
	switch {
	case errors.Is(err, errRefused):
		return u.reject(rec, err)
	case err != nil:
		return err
	case st.Size == 0:
		return u.reject(rec, ErrEmpty)
	}
	if !rec.announced() {
		rec.Size, rec.MTime = st.Size, st.Mtim.Nano()
	}
	delete(u.spool.pending, rec.Seq)
	u.spool.insert(rec)
	u.queued(rec)
	return nil
}

// reject puts a pending record into quarantine.
func (u *Uploader) reject(rec record, why error) error {
	if err := u.spool.setAside(rec, why); err != nil {
		return err
	}
	delete(u.spool.pending, rec.Seq)
	u.quarantined(rec, why)
	return nil
}

// errRefused wraps why data in the spool cannot be sent.
var errRefused = errors.New("refused")

// settleData makes the data of item seq durable and returns what it is.
func (s *spool) settleData(seq uint64, may policy) (st unix.Stat_t, err error) {
	dir, err := os.Open(s.dir)
	if err != nil {
		return st, err
	}
	defer dir.Close()
	name := filepath.Base(s.path(seq, "data"))
	if st, err = look(dir, name); err != nil {
		return st, err
	}
	if err := may.accept(&st); err != nil {
		return st, fmt.Errorf("%w: %w", errRefused, err)
	}
	f, st, err := openFile(dir, name, may)
	if err != nil {
		return st, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return st, err
	}
	return st, s.fs.SyncDir(s.dir)
}

// copyTaken completes the copy of a file from another file system, and reports
// whether there is one.
func (u *Uploader) copyTaken(ctx context.Context, rec *record) (begun bool, err error) {
	dir, err := u.dropDir(rec.Type, rec.Module)
	if err == nil {
		defer dir.Close()
	}
	taken := takenName(rec.Seq)
	if !u.spool.exists(rec.Seq) {
		if err != nil {
			return false, err
		}
		f, st, err := openFile(dir, taken, u.policy().in(dir))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil && exchanged(dir, taken, u.uid):
			return false, nil // its owner took it back, and left us something else
		case err != nil:
			return false, err
		}
		err = u.copyData(ctx, f, &st, rec)
		f.Close()
		if err != nil {
			return false, err
		}
	}
	// From here on the file is in the spool. The name that stays behind if we
	// cannot remove it is never looked at again, once the record says so.
	if err == nil {
		err = u.box.remove(dir, taken)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		u.Log.Warn("copied file stays behind in the drop box", "type", rec.Type, "module", rec.Module, "file", taken, "err", err)
	}
	rec.Copying = false
	return true, u.spool.save(rec)
}

// copyData makes the contents of f those of item rec, in one durable step.
func (u *Uploader) copyData(ctx context.Context, f *os.File, st *unix.Stat_t, rec *record) error {
	tmp, size, err := u.spool.receive(ctx, f)
	if err != nil {
		return err
	}
	var now unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &now); err != nil || identify(st) != identify(&now) || size != st.Size {
		_ = u.spool.fs.Remove(tmp)
		return errOpen // once more, from the start
	}
	data := u.spool.path(rec.Seq, "data")
	if err := u.spool.fs.Rename(tmp, data); err != nil {
		return err
	}
	if err := u.spool.fs.SyncDir(u.spool.dir); err != nil {
		return err
	}
	rec.Size = size
	rec.MTime, err = mtime(data)
	return err
}

// exchanged reports whether another user has put something else in the place of
// a file that is being copied.
func exchanged(dir *os.File, name string, uid int) bool {
	st, err := look(dir, name)
	return err == nil && !ours(&st, uid)
}

// policy says which files are taken from directories that are not shared.
func (u *Uploader) policy() policy { return policy{uid: u.uid, limit: u.MaxSpool} }

// dropDir opens the directory of a type and module in the drop box.
func (u *Uploader) dropDir(typ, module string) (*os.File, error) {
	dir, err := os.Open(u.Dir)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{typ, module} {
		if name == "" {
			continue
		}
		sub, err := enter(dir, name, u.uid)
		dir.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Trim(typ+"/"+module, "/"), err)
		}
		dir = sub
	}
	return dir, nil
}
