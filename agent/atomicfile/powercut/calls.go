package powercut

import (
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// Create makes an empty file.
func (d *Disk) Create(name string, _ os.FileMode) (atomicfile.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("create", name); err != nil {
		return nil, err
	}
	if d.names[name] != nil {
		return nil, fs.ErrExist
	}
	ino := &inode{}
	d.change(change{name: ino})
	return &file{d, ino, name}, nil
}

// ReadFile returns what the running system sees. It is not counted.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off() {
		return nil, ErrOff
	}
	ino := d.names[name]
	if ino == nil {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(ino.data), nil
}

// Link gives a file a second name.
func (d *Disk) Link(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("link", newname); err != nil {
		return err
	}
	switch {
	case d.names[oldname] == nil:
		return fs.ErrNotExist
	case d.names[newname] != nil:
		return fs.ErrExist
	}
	d.change(change{newname: d.names[oldname]})
	return nil
}

// Rename moves a name, as rename(2) does: not at all where both are names of
// one file.
func (d *Disk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("rename", newname); err != nil {
		return err
	}
	switch ino := d.names[oldname]; ino {
	case nil:
		return fs.ErrNotExist
	case d.names[newname]:
	default:
		d.change(change{newname: ino, oldname: nil})
	}
	return nil
}

// Remove removes a name.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("remove", name); err != nil {
		return err
	}
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	d.change(change{name: nil})
	return nil
}

// SyncDir makes every name durable.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("syncdir", dir); err != nil {
		return err
	}
	d.last = barrier{names: d.pending, base: d.durable}
	d.pending, d.durable = nil, maps.Clone(d.names)
	return nil
}
