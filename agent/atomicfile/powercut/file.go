package powercut

import (
	"fmt"
	"slices"
	"strings"
)

// A file is one being written.
type file struct {
	disk *Disk
	*inode
	name string
}

// Write appends. A fault leaves half of p written, as a full disk does.
func (f *file) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.begin("write", f.name); err != nil {
		if !f.disk.off() {
			f.data = append(f.data, p[:len(p)/2]...)
		}
		return len(p) / 2, err
	}
	f.data = append(f.data, p...)
	return len(p), nil
}

// Sync makes what was written durable, and no name.
func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.begin("sync", f.name); err != nil {
		return err
	}
	f.disk.last = barrier{file: f.inode, before: f.synced}
	f.synced = slices.Clone(f.data)
	return nil
}

// Close syncs nothing.
func (f *file) Close() error { return nil }

// String lists the files that the running system sees, for a failed test.
func (d *Disk) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	for _, name := range sorted(d.names) {
		fmt.Fprintf(&b, "%s: %.300q\n", name, d.names[name].data)
	}
	return b.String()
}
