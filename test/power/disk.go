package main

import (
	"math/rand/v2"
	"sync"
)

const sector = 512

// A disk is a block device whose power may fail. With a write cache it promises
// nothing before a flush: when the power fails, any of the writes since then are
// lost, in any order, and one may be torn. Without one a write is there when it
// is acknowledged.
type disk struct {
	mu      sync.Mutex
	cached  bool
	durable []byte // what is there after a power cut at least
	current []byte // what is read
	pending []write
	lost    int // writes, at the last power cut
}

type write struct {
	offset int64
	data   []byte
}

func newDisk(image []byte, cached bool) *disk {
	return &disk{cached: cached, durable: image, current: append([]byte(nil), image...)}
}

func (d *disk) read(b []byte, offset int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(b, d.current[offset:])
}

func (d *disk) write(b []byte, offset int64, through bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.current[offset:], b)
	if d.cached && !through {
		d.pending = append(d.pending, write{offset, b})
		return
	}
	// What is older and not flushed may be written over it later, as far as
	// nobody knows; a disk does not reorder writes of the same sector.
	for i := range d.pending {
		d.pending[i].cover(b, offset)
	}
	copy(d.durable[offset:], b)
}

// cover makes w agree with a later write of the same sectors.
func (w *write) cover(b []byte, offset int64) {
	from, to := max(w.offset, offset), min(w.offset+int64(len(w.data)), offset+int64(len(b)))
	if from < to {
		copy(w.data[from-w.offset:to-w.offset], b[from-offset:to-offset])
	}
}

func (d *disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.pending {
		copy(d.durable[w.offset:], w.data)
	}
	d.pending = nil
}

// cut is the power failing. Each sector of what was not flushed has one of the
// contents that were written to it, or the old one.
func (d *disk) cut(r *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := r.Float64() // of the writes: nearly all, nearly none, or some
	d.lost = 0
	for _, w := range d.pending { // in order: of two kept writes of a sector the later one wins
		if r.Float64() >= kept {
			d.lost++
			continue
		}
		data := w.data
		if r.IntN(8) == 0 { // torn
			data = data[:r.IntN(len(data)/sector+1)*sector]
		}
		copy(d.durable[w.offset:], data)
	}
	d.pending = nil
	copy(d.current, d.durable)
}
