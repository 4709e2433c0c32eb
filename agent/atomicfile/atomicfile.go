// Package atomicfile replaces files in one step: a reader, and the device after
// a power cut, finds the old contents or the new and nothing between.
package atomicfile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// An FS is the system calls of which durable writes are made. OS makes them;
// tests substitute one that loses power between any two.
type FS interface {
	// Create makes a new file for writing. It fails when the name exists.
	Create(name string, perm os.FileMode) (File, error)
	ReadFile(name string) ([]byte, error)
	// Link gives old a second name; it fails when the new one exists.
	Link(oldname, newname string) error
	Rename(oldname, newname string) error
	// Remove deletes a file. A missing one is an error that is fs.ErrNotExist.
	Remove(name string) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
}

// A File is one that Create has made.
type File interface {
	io.Writer
	Sync() error
	Close() error
}

// OS is the operating system's FS.
type OS struct{}

// Create opens a new file, never through a symbolic link.
func (OS) Create(name string, perm os.FileMode) (File, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, perm)
}

// ReadFile reads the whole of a small file.
func (OS) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

// Link is link(2).
func (OS) Link(oldname, newname string) error { return os.Link(oldname, newname) }

// Rename is rename(2).
func (OS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// Remove is unlink(2) or rmdir(2).
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir is fsync(2) of a directory.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Write replaces the file at path with data, durably. perm is the mode of the
// result; the directory must exist. Errors are those of the system calls, with
// the old file untouched.
func Write(path string, data []byte, perm os.FileMode) error {
	return WriteFS(OS{}, path, data, perm)
}

// WriteFS is Write on fsys: write path.tmp, sync it, rename it, sync the
// directory. Whoever calls it owns path alone: two writers would share path.tmp.
func WriteFS(fsys FS, path string, data []byte, perm os.FileMode) error {
	tmp := path + ".tmp"
	if err := writeNew(fsys, tmp, data, perm); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, path); err != nil {
		_ = fsys.Remove(tmp)
		return err
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("sync directory of %s: %w", path, err)
	}
	return nil
}

// writeNew leaves name whole and synced, or not there.
func writeNew(fsys FS, name string, data []byte, perm os.FileMode) (err error) {
	_ = fsys.Remove(name) // left by a power cut
	f, err := fsys.Create(name, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = fsys.Remove(name)
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
