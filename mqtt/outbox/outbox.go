// Package outbox keeps messages on disk until the broker has them.
//
// They lie in segment files in the order of their sequence numbers, which is
// that of Put, whatever the clock says. What Put has returned nil for survives
// the power; what arrives while the disk is busy, or within a small window, is
// made durable by one sync. Memory does not grow with what waits.
package outbox

import (
	"cmp"
	"errors"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

var (
	// ErrTooLarge is returned by Put for a message that can never fit.
	ErrTooLarge = errors.New("outbox: message too large")

	// ErrNotDurable is returned by Put when the disk does not take the message.
	ErrNotDurable = errors.New("outbox: not durable")

	// ErrClosed is returned after Close.
	ErrClosed = errors.New("outbox: closed")
)

const (
	// DefaultMaxBytes is what an Outbox takes on disk at most.
	DefaultMaxBytes = 16 << 20
	// MaxPayload is the largest payload in bytes.
	MaxPayload = 256 << 10

	maxTopic    = 65535
	maxLatest   = 4096        // topics whose newest message is known; beyond, all are sent
	retryDisk   = time.Second // after the disk has failed
	minSegment  = 16 << 10
	maxSegment  = 4 << 20
	segments    = 64 // that a full outbox has at least, if they are not minSegment
	quarantined = 4  // damaged files that are kept

	// maxAhead is how many messages may be acknowledged before one that was read
	// earlier is: they are in memory, and after a kill they are sent again.
	maxAhead = 1024
)

// A Message is what Put keeps.
type Message struct {
	Topic   string
	Payload []byte
	Retain  bool
	Latest  bool // takes the place of those of its topic that have not been read yet
}

// An Entry is a message that waits.
type Entry struct {
	Message
	Seq uint64    // grows with each message
	At  time.Time // when it was put; zero if the time was not known

	segment *segment
	size    int64 // of its record
	acked   bool
}

// An Outbox is a bounded queue on disk. Set its fields before use; Dir must
// exist. Put may be called from anywhere, Next and Ack by one reader.
type Outbox struct {
	Dir      string
	MaxBytes int64         // on disk; the oldest messages give way. DefaultMaxBytes if 0
	MaxAge   time.Duration // older messages are not read any more; 0 for no limit
	Window   time.Duration // how long Put waits for others before it syncs

	// Now is the time, and whether it can be trusted: only between two trusted
	// times does a message grow old. The system's clock if nil.
	Now func() (time.Time, bool)
	FS  atomicfile.ReadFS // Disk if nil
	Log *slog.Logger      // none if nil

	turn chan struct{} // held by whoever writes to disk
	bell chan struct{} // rung when there is something to read

	mu      sync.Mutex // never held over a call of FS
	made    bool
	opened  bool
	closed  bool
	waiting *batch // collects what the next sync makes durable
	next    uint64 // sequence of the next message
	list    []*segment
	latest  map[uint64]place // hash of a topic to its newest message
	seed    maphash.Seed
	salt    uint32   // of the segments of this life
	flying  []*Entry // read and not acknowledged, in order, with those acknowledged out of turn
	ahead   int      // of them acknowledged
	read    uint64   // the newest message read
	mark    uint64   // every message up to it is done with
	stat    Status
	err     error     // why the disk takes nothing
	retry   time.Time // when it is tried again

	// Only the holder of turn touches these.
	file    atomicfile.File // of the last segment, which is appended to; nil if that is sealed
	written uint64          // the mark in it

	// Only the reader touches it.
	cursor cursor
}

// A place is where the newest message of a topic is.
type place struct {
	seq     uint64
	since   uint64 // the first sequence from which on the topic has been followed
	size    int64
	segment *segment
}

func (o *Outbox) make() {
	if o.made {
		return
	}
	o.made = true
	o.turn, o.bell = make(chan struct{}, 1), make(chan struct{}, 1)
	o.latest, o.seed, o.next = make(map[uint64]place), maphash.MakeSeed(), 1
	o.salt = rand.Uint32()
}

func (o *Outbox) init() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.make()
}

// Ready is rung when Next may have something.
func (o *Outbox) Ready() <-chan struct{} {
	o.init()
	return o.bell
}

func (o *Outbox) ring() {
	select {
	case o.bell <- struct{}{}:
	default:
	}
}

// Close ends the use of the outbox, after its reader. What is in it stays.
func (o *Outbox) Close() error {
	o.init()
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	o.commit()
	o.settle()
	o.cursor.close()
	if o.file == nil {
		return nil
	}
	f := o.file
	o.file = nil
	return f.Close()
}

func (o *Outbox) maxBytes() int64 { return cmp.Or(o.MaxBytes, DefaultMaxBytes) }

// segmentBytes is how large a segment grows: what gives way at once when the
// outbox is full.
func (o *Outbox) segmentBytes() int64 { return min(max(o.maxBytes()/segments, minSegment), maxSegment) }

func (o *Outbox) now() (time.Time, bool) {
	if o.Now == nil {
		return time.Now(), true
	}
	return o.Now()
}

func (o *Outbox) fs() atomicfile.ReadFS {
	if o.FS == nil {
		return Disk{}
	}
	return o.FS
}

func (o *Outbox) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}
