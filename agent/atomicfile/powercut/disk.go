// Package powercut is a disk for tests that loses, when the power fails, what
// was not synced.
//
// It is stricter than common file systems: the data of a file and each of its
// names become durable only by fsync(2) of the file and of the directory, and
// what was not synced survives in any mixture (POSIX promises no more; see
// also Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
package powercut

import (
	"errors"
	"io/fs"
	"slices"
	"sync"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// ErrOff is what every call returns after the power has failed.
var ErrOff = errors.New("the power is off")

// Sector is how many bytes are written whole or not at all. It is small, so
// that small files are torn too.
const Sector = 64

// A Disk is an atomicfile.FS in memory. It knows one level of names and makes
// no difference between directories.
type Disk struct {
	mu      sync.Mutex
	names   map[string]*inode // as the running system sees them
	durable map[string]*inode // as they are surely found after a power cut
	pending []change          // what lies between durable and names, in order
	last    barrier
	calls   int
	cutAt   int // the call that finds the power off; 0 for never
	fault   func(call, name string) error
}

// An inode is a file, whatever its names.
type inode struct{ data, synced []byte }

// A change is what one call did to names. It survives whole or not at all.
type change map[string]*inode // nil if the name was removed

// A barrier is what the newest sync made durable, if the medium did not lie.
type barrier struct {
	file   *inode
	before []byte // what was durable of file
	names  []change
	base   map[string]*inode // what was durable before names
}

// New returns an empty disk.
func New() *Disk { return &Disk{names: map[string]*inode{}, durable: map[string]*inode{}} }

var _ atomicfile.FS = (*Disk)(nil)

// Calls is how many calls the disk has had that change it or sync.
func (d *Disk) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// CutAt has the power fail just before the n-th call, counted as Calls does.
func (d *Disk) CutAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = n
}

// Off reports whether the power has failed.
func (d *Disk) Off() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off()
}

func (d *Disk) off() bool { return d.cutAt > 0 && d.calls >= d.cutAt }

// Fault has f decide which calls fail. Calls are create, write, sync, link,
// rename, remove and syncdir. A failed sync leaves nothing to sync, as on
// Linux: what it was to make durable is lost at a power cut.
func (d *Disk) Fault(f func(call, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// Put writes a file durably and outside the count, as something from before
// the test or as damage. Nil data removes it.
func (d *Disk) Put(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range slices.Concat(d.pending, d.last.names) {
		delete(c, name)
	}
	var ino *inode
	if data != nil {
		ino = &inode{data: slices.Clone(data), synced: slices.Clone(data)}
	}
	for _, names := range []map[string]*inode{d.names, d.durable, d.last.base} {
		if names != nil {
			change{name: ino}.apply(names)
		}
	}
}

// begin counts a call and says how it fails, if it does.
func (d *Disk) begin(call, name string) error {
	if d.off() {
		return ErrOff
	}
	if d.calls++; d.off() {
		return ErrOff
	}
	if d.fault != nil {
		if err := d.fault(call, name); err != nil {
			return &fs.PathError{Op: call, Path: name, Err: err}
		}
	}
	return nil
}

func (d *Disk) change(c change) {
	d.pending = append(d.pending, c)
	c.apply(d.names)
}

func (c change) apply(names map[string]*inode) {
	for name, ino := range c {
		if ino == nil {
			delete(names, name)
			continue
		}
		names[name] = ino
	}
}
