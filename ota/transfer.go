package ota

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

// A transfer is a Download under way. One goroutine owns it.
type transfer struct {
	*Download
	part  DiskFile
	slots *slots
	sum   hash.Hash  // of the first at.Offset bytes
	at    checkpoint // what is stored and where it came from

	saved     int64 // offset of the newest checkpoint
	savedAt   time.Time
	flushed   int64 // write-back was asked for up to here
	allocated int64 // bytes that are reserved

	started  time.Time
	earlier  time.Duration // spent by runs before this one
	best     int64         // highest offset ever
	tries    int           // that counted, since the last progress
	failures int           // attempts in a row without progress
	changes  int
	noRange  bool // the server does not serve ranges
	compare  bool // If-Range is not enough
	meter    meter
	buffers  *buffers
}

// openTransfer opens the part and goes back to the newest checkpoint that the
// bytes in it confirm.
func openTransfer(ctx context.Context, d *Download) (*transfer, error) {
	now := time.Now()
	t := &transfer{Download: d, sum: sha256.New(), started: now, savedAt: now, meter: meter{report: d.Progress}}
	part, err := d.FS.OpenFile(filepath.Join(d.Dir, "part"), true)
	if err != nil {
		return nil, err
	}
	t.part = part
	slots, c, ok, err := openSlots(d.FS, d.Dir)
	if err != nil {
		_ = part.Close()
		return nil, err
	}
	t.slots = slots
	if err := d.FS.SyncDir(d.Dir); err != nil {
		t.close()
		return nil, &diskError{err}
	}
	confirmed := false
	if ok {
		t.earlier = time.Duration(min(c.Spent, int64(maxSpent/time.Second))) * time.Second
		if confirmed, err = t.confirm(ctx, c); err != nil {
			t.close()
			return nil, err
		}
	}
	if !confirmed {
		if err := t.reset(); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

// confirm hashes what c vouches for; the hash then goes on from there.
func (t *transfer) confirm(ctx context.Context, c checkpoint) (bool, error) {
	if size, err := t.part.Size(); err != nil || size < c.Offset {
		return false, err
	}
	if err := t.part.Truncate(c.Offset); err != nil {
		return false, err
	}
	sum, err := hashPrefix(ctx, t.sum, t.part, c.Offset)
	if err != nil || sum != c.SHA256 {
		return false, err
	}
	c.Complete = false
	t.at, t.saved, t.best, t.flushed = c, c.Offset, c.Offset, c.Offset
	return true, nil
}

// reset drops all that is stored.
func (t *transfer) reset() error {
	if err := t.part.Truncate(0); err != nil {
		return &diskError{err}
	}
	t.sum.Reset()
	t.at, t.compare = checkpoint{Total: -1}, false
	t.saved, t.flushed, t.allocated = 0, 0, 0
	return nil
}

func (t *transfer) close() {
	_ = t.part.Close()
	t.slots.close()
}

func (t *transfer) spent() time.Duration { return t.earlier + time.Since(t.started) }

// attempt makes one request and stores what comes. Unless the file is complete
// or the verdict says otherwise, it is to be tried again.
func (t *transfer) attempt(ctx context.Context) verdict {
	if v, ok := t.admit(max(t.at.Total, t.Due.total())); !ok {
		return v // known before asking
	}
	if v, none := spent(t.budget); none {
		return v
	}
	defer t.budget.Flush()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := watchStall(cancel)
	defer watch.stop()

	a := newAsk(t.at, t.noRange, t.compare, t.MaxSize)
	r, err := t.Open(ctx, t.ID, a.header())
	if err != nil {
		var status statusError
		if !errors.As(err, &status) {
			return interrupted(ctx, err)
		}
		v := decide(a, responseOf(status), time.Now())
		v.err = err
		return v
	}
	defer r.Body.Close()
	defer context.AfterFunc(ctx, func() { _ = r.Body.Close() })()
	v := decide(a, r, time.Now())
	if v.action == proceed || v.action == rewrite {
		if err := t.Due.expect(v.total); err != nil {
			return unstored(err)
		}
		return t.receive(ctx, cancel, a, v, r.Body, watch)
	}
	return v
}

func responseOf(err statusError) Response {
	r := Response{Status: err.HTTPStatus(), Header: http.Header{}}
	if after := err.RetryAfter(); after > 0 {
		r.Header.Set("Retry-After", strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
	}
	if r.Status/100 == 2 {
		r.Status = 0 // an error all the same
	}
	return r
}
