package ota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/spoke-zone/spoke-zone-agent/agent/budget"
)

// The bounds of a download.
const (
	maxTries       = 20                 // without a new byte
	maxSpent       = 7 * 24 * time.Hour // of trying
	maxChanges     = 3                  // of the file while it is fetched
	defaultMaxSize = 2 << 30            // bytes
)

// ErrWithdrawn means that the catalogue does not offer the release any more.
var ErrWithdrawn = errors.New("withdrawn by the server")

// ErrStorage means that the disk twice failed to make data durable. Nothing
// more must be entrusted to it.
var ErrStorage = errors.New("storage fault")

// A Failure is a download that is given up.
type Failure struct {
	Reason string
	// Later says that the same release may be tried again after a time; else
	// only when the listing has changed.
	Later bool
	// Forever says that the same release need never be tried again.
	Forever bool
	cause   error
}

func (f *Failure) Error() string {
	if f.cause != nil {
		return fmt.Sprintf("%s: %v", f.Reason, f.cause)
	}
	return f.Reason
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.cause }

// Progress is how a download stands.
type Progress struct {
	Bytes   int64
	Total   int64     // -1 unknown
	Rate    float64   // bytes per second, lately
	Attempt int       // failed attempts in a row
	NextTry time.Time // zero while bytes flow
	Err     error     // of the last attempt; nil while bytes flow
}

// A Download fetches one release into a directory of its own, in which it may
// be interrupted at any instant: a later Run on the same directory goes on from
// the last checkpoint. Set the fields before Run.
type Download struct {
	Dir string // must exist
	ID  string
	// Open is as in Source.
	Open func(ctx context.Context, id string, header http.Header) (Response, error)
	// Listed says whether the catalogue still offers the release. It is asked
	// when the server denies having it. Nil: it does not.
	Listed   func(ctx context.Context) (bool, error)
	Due      promise        // what the payload must be
	MaxSize  int64          // bytes; 2 GiB if 0
	Extra    int64          // bytes that must be free besides
	Limit    *rate.Limiter  // nil for none; shared by all downloads
	budget   *budget.Budget // nil for none; likewise
	Progress func(Progress) // called at most 4 times a second, and around waits; may be nil
	// Wake cuts the waiting for another try short, but not what a server asked
	// for. It may be nil.
	Wake <-chan struct{}
	FS   FS             // Disk if nil
	Rand func() float64 // rand.Float64 if nil
	Log  *slog.Logger   // discards if nil
}

// Run returns the complete payload. Its errors are ErrWithdrawn, ErrStorage, a
// *Failure, ctx's, and those of the file system at the start; all others it
// waits out.
func (d *Download) Run(ctx context.Context) (Payload, error) {
	c := *d
	if c.FS == nil {
		c.FS = Disk{}
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxSize <= 0 {
		c.MaxSize = defaultMaxSize
	}
	if err := c.Due.fits(c.MaxSize); err != nil {
		return Payload{}, err
	}
	if p, ok, err := finished(ctx, c.FS, c.Dir); ok || err != nil {
		return p, cmp.Or(err, c.Due.kept(p))
	}
	for faults := 1; ; faults++ {
		p, err := c.try(ctx)
		var bad *diskError
		if !errors.As(err, &bad) {
			return p, err
		}
		// The kernel may have dropped what it could not write, and says so
		// once: never again this file.
		if faults == 2 {
			return Payload{}, fmt.Errorf("%w: %v", ErrStorage, err)
		}
		c.Log.Warn("disk does not keep the download, starting over", "err", err)
		if err := discard(c.FS, c.Dir); err != nil {
			return Payload{}, fmt.Errorf("%w: %v", ErrStorage, err)
		}
	}
}

// try runs one transfer to its end.
func (d *Download) try(ctx context.Context) (Payload, error) {
	t, err := openTransfer(ctx, d)
	if err != nil {
		return Payload{}, err
	}
	defer t.close()
	p, err := t.run(ctx)
	if err != nil && ctx.Err() != nil {
		if cerr := t.checkpoint(); cerr != nil {
			d.Log.Warn("checkpoint not written", "err", cerr)
		}
		return Payload{}, ctx.Err()
	}
	return p, err
}

// run asks until the file is complete or hopeless.
func (t *transfer) run(ctx context.Context) (Payload, error) {
	for {
		if spent := t.spent(); spent > maxSpent {
			return Payload{}, &Failure{Reason: fmt.Sprintf("not complete after %d days", int(maxSpent.Hours()/24)), Later: true}
		}
		var v verdict
		if t.at.Total > 0 && t.at.Offset == t.at.Total {
			p, err := t.finish()
			if err == nil {
				return p, nil
			}
			v = unstored(err)
		} else if v = t.attempt(ctx); ctx.Err() != nil {
			return Payload{}, ctx.Err()
		}
		var bad *diskError
		if errors.As(v.err, &bad) {
			return Payload{}, v.err
		}
		if t.at.Offset > t.best {
			t.best, t.tries, t.failures = t.at.Offset, 0, 0
		}
		if err := t.act(ctx, v); err != nil {
			return Payload{}, err
		}
	}
}

// act does what v says. Its error ends the download.
func (t *transfer) act(ctx context.Context, v verdict) error {
	switch v.action {
	case proceed, rewrite: // the body is stored
		return nil
	case complete:
		t.at.Total = t.at.Offset
		return nil
	case compare:
		t.compare = true
		return nil
	case refuse:
		return &Failure{Reason: v.why, Forever: v.forever, cause: v.err}
	case restart:
		t.Log.Info("starting over", "err", v.why)
		if t.changes++; t.changes > maxChanges {
			return &Failure{Reason: "the file keeps changing: " + v.why}
		}
		t.best = 0
		return t.reset()
	case relist:
		listed, err := false, error(nil)
		if t.Listed != nil {
			listed, err = t.Listed(ctx)
		}
		if err == nil && !listed {
			return ErrWithdrawn
		}
	}
	if v.action != wait {
		if t.tries++; t.tries >= maxTries {
			return &Failure{Reason: fmt.Sprintf("no progress in %d tries: %s", maxTries, v.why), Later: true, cause: v.err}
		}
	}
	t.failures++
	after := v.after
	if after == 0 {
		after = backoff(t.failures, t.Rand())
	}
	begin := time.Now()
	err := t.pause(ctx, after, v)
	if v.idle {
		t.started = t.started.Add(time.Since(begin))
	}
	return err
}

// pause waits before another try. The checkpoint of what came so far is not put
// off until then.
func (t *transfer) pause(ctx context.Context, d time.Duration, v verdict) error {
	cause := errors.New(v.why)
	if v.err != nil {
		cause = fmt.Errorf("%s: %w", v.why, v.err)
	}
	t.Log.Warn("download interrupted", "err", cause, "attempt", t.failures, "retry_in", d.Round(time.Millisecond))
	t.meter.waiting(t.at, t.failures, time.Now().Add(d), cause)
	if rest := minCheckpoint - time.Since(t.savedAt); rest > 0 && t.saved != t.at.Offset {
		if err := sleep(ctx, rest, nil); err != nil {
			return err
		}
		d -= rest
	}
	if err := t.checkpoint(); err != nil && !full(err) {
		return err
	}
	wake := t.Wake
	if v.after > 0 {
		wake = nil
	}
	return sleep(ctx, d, wake)
}

func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err()
}
