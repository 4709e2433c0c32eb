package ota

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

const (
	checkpointBytes = 4 << 20
	checkpointTime  = 10 * time.Second
	minCheckpoint   = 2 * time.Second // between two
	writeBackBytes  = 8 << 20
)

// A diskError means that a file cannot be trusted any more: a write failed
// other than for space, or what was written could not be made durable.
type diskError struct{ cause error }

func (e *diskError) Error() string { return "write download: " + e.cause.Error() }
func (e *diskError) Unwrap() error { return e.cause }

// errSpent means that the link's budget is used up.
var errSpent = errors.New("the month's budget is used up")

// unstored is the verdict on an error of the disk.
func unstored(err error) verdict {
	var disk *diskError
	var failure *Failure
	switch {
	case errors.As(err, &disk):
		return verdict{action: retry, err: err}
	case errors.As(err, &failure):
		return verdict{action: refuse, why: failure.Reason, forever: failure.Forever}
	case errors.Is(err, errSpent):
		return verdict{action: wait, why: "interrupted", err: err, after: minDelay} // and then the budget says how long
	case full(err):
		return verdict{action: wait, why: "the disk is full", err: err}
	}
	return verdict{action: retry, err: &diskError{err}}
}

// admit asks whether there is room for a file of total bytes, or for more of
// one of unknown length.
func (t *transfer) admit(total int64) (verdict, bool) {
	space, err := t.FS.Space(t.Dir)
	if err == nil {
		err = space.admit(total, max(t.at.Offset, t.allocated), t.Extra)
	}
	if err != nil {
		return verdict{action: wait, why: "no room for the file", err: err}, false
	}
	return verdict{}, true
}

// store appends b to the part and its hash, and writes a checkpoint when one is
// due.
func (t *transfer) store(b []byte) error {
	if t.at.Total < 0 && t.Due.Size > 0 && t.at.Offset+int64(len(b)) > t.Due.Size {
		return broken("it has more than %d bytes", t.Due.Size)
	}
	if t.at.Total < 0 && t.at.Offset+int64(len(b)) > t.MaxSize {
		return &Failure{Reason: fmt.Sprintf("the file has more than %s", Bytes(t.MaxSize))}
	}
	if _, err := t.part.WriteAt(b, t.at.Offset); err != nil {
		return err
	}
	t.sum.Write(b)
	t.at.Offset += int64(len(b))
	t.meter.stored(t.at)
	if !t.budget.Spend(len(b)) && t.at.Offset != t.at.Total {
		return errSpent
	}
	if n := t.at.Offset - t.flushed; n >= writeBackBytes {
		// So that the last sync has little left to do.
		t.part.WriteBack(t.flushed, n)
		t.flushed = t.at.Offset
	}
	elapsed := time.Since(t.savedAt)
	if elapsed < minCheckpoint || elapsed < checkpointTime && t.at.Offset-t.saved < checkpointBytes {
		return nil
	}
	if t.at.Total < 0 {
		if v, ok := t.admit(-1); !ok {
			return v.err
		}
	}
	return t.checkpoint()
}

// checkpoint vouches for all that is stored: first the data becomes durable,
// then the claim.
func (t *transfer) checkpoint() error {
	if t.saved == t.at.Offset {
		return nil
	}
	if err := t.part.Datasync(); err != nil {
		return &diskError{err}
	}
	return t.claim(false)
}

func (t *transfer) claim(complete bool) error {
	c := t.at
	c.SHA256 = hex.EncodeToString(t.sum.Sum(nil))
	c.Complete = complete
	c.Spent = int64(t.spent() / time.Second)
	if err := t.slots.write(c); err != nil {
		return err
	}
	t.saved, t.savedAt = t.at.Offset, time.Now()
	return nil
}

// finish turns the part into the payload: data, then claim, then name.
func (t *transfer) finish() (Payload, error) {
	p := Payload{
		Path:   filepath.Join(t.Dir, "payload"),
		Size:   t.at.Total,
		SHA256: hex.EncodeToString(t.sum.Sum(nil)),
	}
	if err := t.Due.kept(p); err != nil {
		return Payload{}, err
	}
	// A write that failed halfway may have left more than was counted.
	size, err := t.part.Size()
	if err == nil && size != p.Size {
		err = t.part.Truncate(p.Size)
	}
	if err != nil {
		return Payload{}, err
	}
	if err := t.part.Sync(); err != nil {
		return Payload{}, &diskError{err}
	}
	if err := t.claim(true); err != nil {
		return Payload{}, err
	}
	if err := t.FS.Rename(filepath.Join(t.Dir, "part"), p.Path); err != nil {
		return Payload{}, err
	}
	if err := t.FS.SyncDir(t.Dir); err != nil {
		return Payload{}, &diskError{err}
	}
	t.meter.done(t.at)
	return p, nil
}

// A meter tells how fast a download is, at most 4 times a second.
type meter struct {
	report func(Progress)
	at     time.Time // of the last report
	bytes  int64     // then
	rate   float64
}

const reportEvery = 250 * time.Millisecond

func (m *meter) begin(c checkpoint) {
	m.at, m.bytes = time.Now(), c.Offset
	m.tell(Progress{Bytes: c.Offset, Total: c.Total, Rate: m.rate})
}

func (m *meter) stored(c checkpoint) {
	elapsed := time.Since(m.at)
	if elapsed < reportEvery {
		return
	}
	now := float64(c.Offset-m.bytes) / elapsed.Seconds()
	if m.rate == 0 {
		m.rate = now
	}
	m.rate += (now - m.rate) * min(1, elapsed.Seconds()/5)
	m.begin(c)
}

func (m *meter) waiting(c checkpoint, attempt int, next time.Time, err error) {
	m.rate = 0
	m.tell(Progress{Bytes: c.Offset, Total: c.Total, Attempt: attempt, NextTry: next, Err: err})
}

func (m *meter) done(c checkpoint) {
	m.tell(Progress{Bytes: c.Offset, Total: c.Total, Rate: m.rate})
}

func (m *meter) tell(p Progress) {
	if m.report != nil {
		m.report(p)
	}
}
