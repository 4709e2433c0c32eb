package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/time/rate"
)

// exchange makes the requests for the next part of it, whose data is f.
func (u *Uploader) exchange(ctx context.Context, it *item, f *os.File) error {
	if it.ID == "" {
		end, err := u.nextEnd(it, f)
		if err != nil {
			return u.doom(it, err)
		}
		u.sending(it, 0, end-it.Offset)
		id, err := u.register(ctx, it)
		if err != nil {
			return u.failed(ctx, it, create, err)
		}
		if id == "" || len(id) > maxID {
			return errors.New("register: the cloud's id cannot be used")
		}
		it.ID, it.End = id, end
		if err := u.save(it); err != nil {
			return err // not without its id on disk
		}
	}
	size := it.End - it.Offset
	body, name, err := u.body(ctx, it, f)
	if err != nil {
		return err
	}
	defer body.close()
	size = body.size
	src := &source{r: body, sent: func(n int64) { u.sending(it, n, size) }, ctx: ctx, limiter: u.limiter, spend: u.budget.Spend}
	u.sending(it, 0, size)
	u.Alive(0) // the request has bounds of its own
	u.budget.Spend(overhead)
	err = u.PutDataFile(ctx, it.ID, name, size, src)
	switch {
	case src.err != nil && err != nil:
		return u.doom(it, fmt.Errorf("read: %w", src.err))
	case err != nil:
		return u.failed(ctx, it, put, err)
	}
	return u.delivered(it, f)
}

// finish is how long a registration that is under way at a stop may take to
// end: without its answer the file would be registered again.
const finish = 5 * time.Second

// register makes the first request. A stop lets it end, within a bound.
func (u *Uploader) register(ctx context.Context, it *item) (string, error) {
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(finish, cancel) })
	defer stop()
	u.Alive(0)
	u.budget.Spend(overhead)
	return u.CreateDataFile(call, it.Type, it.Module)
}

// nextEnd returns where the next part of it ends.
func (u *Uploader) nextEnd(it *item, f io.ReaderAt) (int64, error) {
	if it.Size-it.Offset <= u.MaxFile {
		return it.Size, nil
	}
	if lines, err := lined(f); err != nil || !lines {
		return it.Size, err
	}
	return cut(f, it.Offset, it.Size, u.MaxFile)
}

// sentName is the file name of the part that is sent.
func (it *item) sentName() string {
	if it.Part == 0 && it.End == it.Size {
		return it.Name
	}
	return partName(it.Name, it.Part+1)
}

// delivered notes that the part up to End has arrived.
func (u *Uploader) delivered(it *item, f *os.File) error {
	u.Log.Info("data file sent", "type", it.Type, "module", it.Module, "file", it.sentName(), "bytes", it.End-it.Offset, "id", it.ID)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if it.End == it.Size && info.Size() <= it.Size {
		it.arrived = true
		u.Alive(working)
		return u.finish(it)
	}
	// More parts, or a late writer's more.
	it.Offset, it.Part, it.ID, it.End, it.Renewed = it.End, it.Part+1, "", 0, false
	return u.save(it)
}

// finish removes the files of an item of which all has arrived.
func (u *Uploader) finish(it *item) error {
	if it.arrived {
		if err := u.archive(it.record); err != nil {
			return err
		}
	}
	if err := u.spool.erase(it.Seq); err != nil {
		return err
	}
	u.spool.forget(it)
	u.note(func(s *Status) {
		s.LastError = ""
		if it.arrived {
			s.Sent++
		}
	})
	return nil
}

// failed decides what err, of request at, means for it.
func (u *Uploader) failed(ctx context.Context, it *item, at step, err error) error {
	if ctx.Err() != nil {
		return err
	}
	status, _ := answer(err)
	err = fmt.Errorf("%v: %w", at, err)
	switch judge(at, status, it.Renewed) {
	case renew:
		it.ID, it.End, it.Renewed = "", 0, true
		u.Log.Warn("data file id not taken, registering again", "err", err, "type", it.Type, "file", it.Name)
		return u.save(it)
	case quarantine:
		return u.doom(it, err)
	case suspect:
		sent := u.sent()
		if it.suspects++; it.suspects == 1 {
			it.sentThen = sent
		}
		if it.suspects >= 5 && sent > it.sentThen {
			return u.doom(it, err)
		}
	default:
		it.suspects = 0
	}
	return err
}

// doom puts it into quarantine.
func (u *Uploader) doom(it *item, why error) error {
	it.doomed = why
	if err := u.spool.setAside(it.record, why); err != nil {
		return err
	}
	u.spool.forget(it)
	u.quarantined(it.record, why)
	return nil
}

// quarantined tells of a file that has been put aside.
func (u *Uploader) quarantined(rec record, why error) {
	u.Log.Error("data file quarantined", "err", why, "type", rec.Type, "module", rec.Module, "file", rec.Name, "bytes", rec.Size)
	n := u.spool.countBad()
	u.note(func(s *Status) { s.Quarantined, s.LastError = n, fmt.Sprintf("%s: quarantined: %v", rec.Name, why) })
}

// save makes the record of it durable.
func (u *Uploader) save(it *item) error {
	it.unsaved = true
	if err := u.spool.save(&it.record); err != nil {
		return err
	}
	it.unsaved = false
	return nil
}

// A source is the data of a request. It tells a failing disk from a failing
// link, and how far the request has got.
type source struct {
	r    io.Reader
	n    int64
	last time.Time
	sent func(n int64)
	err  error

	ctx     context.Context
	limiter *rate.Limiter    // nil for none
	spend   func(n int) bool // counts them
}

// overhead is about what a request takes beside a file's contents, in bytes.
const overhead = 2 << 10

// Read is called by one goroutine, that of the request.
func (s *source) Read(p []byte) (int, error) {
	if s.limiter != nil {
		p = p[:min(len(p), s.limiter.Burst())]
		if err := s.limiter.WaitN(s.ctx, len(p)); err != nil {
			return 0, err
		}
	}
	n, err := s.r.Read(p)
	s.spend(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	s.n += int64(n)
	if now := time.Now(); now.Sub(s.last) > 250*time.Millisecond {
		s.last = now
		s.sent(s.n)
	}
	return n, err
}
