package conf

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrReadOnly means that the file or its directory cannot be written, for good
// or until someone remounts it. Nothing was changed.
var ErrReadOnly = errors.New("identity file is read-only")

// errOwner means that a new file cannot be given to the old one's owner.
var errOwner = errors.New("a new file would belong to somebody else")

// errChanged means that someone else wrote the file meanwhile.
var errChanged = errors.New("file was changed meanwhile")

// A Writer writes tokens back to identity files. The zero Writer is ready to
// use.
type Writer struct {
	// FS is OS if nil.
	FS FS
	// Journal is the directory that holds what a crash in the middle of an
	// overwrite is mended from, where a file cannot be replaced. If empty it is
	// the identity file's own, if that can be written.
	Journal string
}

// WriteToken is the zero Writer's.
func WriteToken(path, token string) error { return Writer{}.WriteToken(path, token) }

// writing lets one WriteToken of this process run at a time, so that one does
// not take another's temporary file for a left-over.
var writing sync.Mutex

// WriteToken makes token the value of mqtt_username in the file that path
// leads to, and changes no other byte of it, nor its owner, mode or extended
// attributes. It makes no file and no directory where there is none, and
// writes nothing when the token stands there already.
//
// A crash leaves the old file or the new one. Where the file cannot be replaced
// - it is a mount point, or we may not give its successor to its owner - it is
// overwritten in place: a crash then can leave a mixture, which Recover and the next WriteToken mend from the journal.
// Where no journal can be written either, and the token is as long as the one
// it replaces, a mixture is confined to the token's own bytes.
//
// Errors: ErrToken, ErrNoFile, ErrReadOnly, ErrEdit, those of ReadIdentity
// except ErrEmptyToken, and those of system calls.
func (w Writer) WriteToken(path, token string) error {
	writing.Lock()
	defer writing.Unlock()
	if err := w.writeToken(path, token); err != nil {
		return fmt.Errorf("write token to %s: %w", path, unwritable(err))
	}
	return nil
}

// unwritable turns the error of a system call into ErrReadOnly if it is one.
func unwritable(err error) error {
	if errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) && !errors.Is(err, ErrUnreadable) {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}

func (w Writer) writeToken(path, token string) error {
	if err := checkToken(token); err != nil {
		return err
	}
	target, err := w.fs().Resolve(path)
	if err != nil {
		return unreadable(err)
	}
	if err := w.recover(target); err != nil {
		return err
	}
	for range 3 {
		err = w.once(target, token)
		if !errors.Is(err, errChanged) {
			return err
		}
	}
	return err
}

func (w Writer) fs() FS {
	if w.FS == nil {
		return OS{}
	}
	return w.FS
}

func (w Writer) once(target, token string) error {
	before, err := w.fs().ReadFile(target)
	if err != nil {
		return unreadable(err)
	}
	d, err := parseText(before)
	if err != nil {
		return err
	}
	if changed, err := d.SetToken(token); err != nil || !changed {
		return err
	}
	err = w.replace(target, before, d.Bytes())
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EROFS) || errors.Is(err, errOwner) {
		// A mount point, whose directory may be read-only while it is not; or a
		// file of whose owner or group we cannot make another.
		err = w.overwrite(target, before, d.Bytes())
	}
	return err
}

// mark is in the names of the files that a Writer makes beside another's.
const mark = ".spoke-zone-agent."

// replace renames a new file over target. On error target is as it was, but
// for one of syncing the directory.
func (w Writer) replace(target string, before, after []byte) (err error) {
	dir, base := filepath.Split(target)
	prefix := "." + base + mark
	w.removeStale(dir, prefix)
	tmp := dir + prefix + rand.Text()
	if err := w.create(tmp, target, after); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = w.fs().Remove(tmp)
		}
	}()
	now, err := w.fs().ReadFile(target)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, before) {
		return errChanged
	}
	if err := w.fs().Rename(tmp, target); err != nil {
		return err
	}
	if err := w.fs().SyncDir(dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// create leaves tmp whole and synced, in the likeness of target, or not there.
func (w Writer) create(tmp, target string, data []byte) (err error) {
	f, err := w.fs().Create(tmp, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = w.fs().Remove(tmp)
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = w.fs().Inherit(f, target)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// removeStale deletes what a power cut left, a journal included: by now it has
// served. Another process that loses its file to this fails at its rename, and
// tries again later.
func (w Writer) removeStale(dir, prefix string) {
	names, err := w.fs().Names(dir)
	if err != nil {
		return // nothing is lost by leaving them
	}
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			_ = w.fs().Remove(filepath.Join(dir, name))
		}
	}
}
