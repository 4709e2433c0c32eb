package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	suffix  = ".seg"
	damaged = ".damaged"
)

// A segment is one file. Its fields are guarded by Outbox.mu.
type segment struct {
	name    string
	salt    uint32 // of the CRCs in it
	first   uint64 // no message in it has a smaller sequence
	last    uint64 // that of its newest message; 0 if there is none
	size    int64  // bytes of whole records
	live    int    // messages that wait
	alive   int64  // bytes of them
	oldest  int64  // Unix seconds of its first message with a time, 0 if none
	version int    // counts up when it is written anew
	damaged bool   // to be kept for a person once it is read
}

func segmentName(first uint64, salt uint32) string {
	return fmt.Sprintf("%016x-%08x%s", first, salt, suffix)
}

// parseName is the reverse of segmentName.
func parseName(name string) (first uint64, salt uint32, ok bool) {
	hex, salted, _ := strings.Cut(strings.TrimSuffix(name, suffix), "-")
	first, err1 := strconv.ParseUint(hex, 16, 64)
	n, err2 := strconv.ParseUint(salted, 16, 32)
	salt = uint32(n)
	return first, salt, err1 == nil && err2 == nil && segmentName(first, salt) == name
}

func (o *Outbox) path(name string) string { return filepath.Join(o.Dir, name) }

// store makes a batch durable. The caller holds turn.
func (o *Outbox) store(b *batch) error {
	need := int64(len(b.bytes)) + frameBytes + headBytes + frameBytes + markBytes
	o.makeRoom(need)
	s, err := o.active(need, b.entries[0].seq)
	if err != nil {
		return err
	}
	if err := o.append(s, b.bytes); err != nil {
		return err
	}
	if err := o.file.Sync(); err != nil {
		return o.abandon(s, err)
	}
	if !s.lasting() {
		if err := o.fs().SyncDir(o.Dir); err != nil {
			return o.abandon(s, err)
		}
	}
	o.enter(s, b)
	return nil
}

// lasting reports whether the name of s is durable: it is since its first
// message was. The caller holds turn.
func (s *segment) lasting() bool { return s.last > 0 }

// active returns the segment to append to, with room for need bytes if it has
// anything in it. first is the sequence of the next message to be stored.
func (o *Outbox) active(need int64, first uint64) (*segment, error) {
	o.mu.Lock()
	var s *segment
	if o.file != nil {
		s = o.list[len(o.list)-1]
		if s.last == 0 || s.size+need <= o.segmentBytes() {
			o.mu.Unlock()
			return s, nil
		}
	}
	mark := o.mark
	o.mu.Unlock()
	if o.file != nil {
		_ = o.file.Close() // it is synced
		o.file = nil
	}
	return o.create(first, mark)
}

// create begins a segment whose messages have sequences from first on.
func (o *Outbox) create(first, mark uint64) (*segment, error) {
	o.mu.Lock()
	if n := len(o.list); n > 0 { // a batch that failed has used up sequences
		first = max(first-1, o.list[n-1].first, o.list[n-1].last) + 1
	}
	o.mu.Unlock()
	s := &segment{name: segmentName(first, o.salt), salt: o.salt, first: first}
	f, err := o.fs().Create(o.path(s.name), 0o600)
	if errors.Is(err, fs.ErrExist) { // left by one that failed
		if err = o.fs().Remove(o.path(s.name)); err == nil {
			f, err = o.fs().Create(o.path(s.name), 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	o.file, o.written = f, mark
	o.mu.Lock()
	o.list = append(o.list, s)
	o.mu.Unlock()
	if err := o.write(s, appendHead(nil, s.salt, mark)); err != nil {
		return nil, err
	}
	return s, nil
}

// append writes bytes after the mark, if that has moved.
func (o *Outbox) append(s *segment, bytes []byte) error {
	o.mu.Lock()
	mark := o.mark
	o.mu.Unlock()
	if mark != o.written {
		bytes = append(appendMark(make([]byte, 0, len(bytes)+frameBytes+markBytes), s.salt, mark), bytes...)
	}
	if err := o.write(s, bytes); err != nil {
		return err
	}
	o.written = mark
	return nil
}

// write appends whole records to the file.
func (o *Outbox) write(s *segment, bytes []byte) error {
	n, err := o.file.Write(bytes)
	o.mu.Lock()
	o.stat.WrittenBytes += int64(n)
	if err == nil {
		s.size += int64(len(bytes))
	}
	o.mu.Unlock()
	if err != nil {
		return o.abandon(s, err)
	}
	return nil
}

// abandon leaves a segment after an error: what a sync that failed has left on
// disk nobody knows, so that nothing is appended to it any more.
func (o *Outbox) abandon(s *segment, err error) error {
	_ = o.file.Close()
	o.file = nil
	if s.lasting() {
		return err
	}
	o.mu.Lock()
	o.list = slices.DeleteFunc(o.list, func(x *segment) bool { return x == s })
	o.mu.Unlock()
	_ = o.fs().Remove(o.path(s.name))
	return err
}

// enter makes the messages of a durable batch readable.
func (o *Outbox) enter(s *segment, b *batch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, p := range b.entries {
		p.segment = s
		s.live++
		s.alive += p.size
		s.last = p.seq
		o.supersede(b.keys[i], p)
	}
	if s.oldest == 0 {
		s.oldest = b.at
	}
	o.stat.Published += int64(len(b.entries))
	o.stat.PublishedBytes += b.load
}

// supersede notes the newest message of a topic, and that the one before need
// not be read. The caller holds mu.
func (o *Outbox) supersede(key uint64, p place) {
	if key == 0 {
		return
	}
	before, known := o.latest[key]
	p.since = p.seq
	if known {
		p.since = before.since
		if before.seq > o.read {
			before.segment.done(before.size)
			o.stat.Superseded++
		}
	} else if len(o.latest) >= maxLatest {
		return
	}
	o.latest[key] = p
}

// done takes one message of size bytes from what waits.
func (s *segment) done(size int64) {
	s.live--
	s.alive -= size
}
