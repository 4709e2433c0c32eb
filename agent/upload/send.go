package upload

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// send sends the files of the spool until ctx is done.
func (u *Uploader) send(ctx context.Context) error {
	var gate time.Time // nothing is sent before
	failures := 0      // in a row, of any file
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer u.Alive(0)
	defer u.budget.Flush()
	for {
		u.Alive(working)
		u.expire()
		barred, spent := u.afford()
		it, wait := u.spool.pick(time.Now(), gate, barred)
		if it == nil {
			u.budget.Flush()
			if !u.rest(ctx, timer, u.resting(wait, spent)) {
				return nil
			}
			continue
		}
		err := u.advance(ctx, it)
		if ctx.Err() != nil {
			return nil // the record says how far we got
		}
		if err == nil {
			failures, it.attempt, it.suspects = 0, 0, 0
			u.spool.release(it)
			continue
		}
		failures++
		it.attempt++
		_, after := answer(err)
		now, draw := time.Now(), u.Rand()
		retry := pause(failures, after, draw)
		gate = now.Add(retry)
		u.spool.postpone(it, now.Add(pause(it.attempt, after, draw)))
		u.Log.Warn("data file not sent", "err", err, "type", it.Type, "module", it.Module, "file", it.Name, "attempt", it.attempt, "retry_in", retry)
		u.note(func(s *Status) { s.waiting(err, gate) })
	}
}

// working bounds the time in which the sender does something that waits for
// nobody.
const working = 5 * time.Minute

// afford returns which types the month's bytes keep waiting, and how long.
func (u *Uploader) afford() (barred func(typ string) bool, spent time.Duration) {
	if u.Monthly <= 0 {
		return func(string) bool { return false }, 0
	}
	left, more := u.budget.Left()
	if more <= 0 {
		more = time.Hour
	}
	return func(typ string) bool { return left <= u.Monthly/100*reserve(typ) }, min(more, time.Hour)
}

// resting tells of what the sender waits for, and returns how long at most.
func (u *Uploader) resting(wait, spent time.Duration) time.Duration {
	n, _, _ := u.spool.size()
	switch {
	case n == 0 || wait < 0 && u.spool.staging(): // nothing, or nothing that is released
		u.note(func(s *Status) { s.Spent = false; s.idle() })
		u.Alive(0)
		return -1
	case wait < 0: // what there is may not be sent this month
		u.note(func(s *Status) { s.Spent = true; s.waiting(errSpent, time.Now().Add(spent)) })
		wait = spent
	}
	if u.aged() {
		wait = min(wait, expireEvery)
	}
	u.Alive(wait + working)
	return wait
}

var errSpent = errors.New("the bytes that uploads may take this month are used up for what waits")

// rest waits for d, or for ever if it is negative, or until there is something
// new to send. It reports false when ctx is done.
func (u *Uploader) rest(ctx context.Context, timer *time.Timer, d time.Duration) bool {
	var fired <-chan time.Time
	if d >= 0 {
		timer.Reset(d)
		fired = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-fired:
	case <-u.wake:
	}
	return true
}

// advance brings it one data file further, and takes it out of the spool at the
// end. Its error means: later.
func (u *Uploader) advance(ctx context.Context, it *item) error {
	if it.doomed != nil {
		return u.doom(it, it.doomed)
	}
	if it.arrived {
		return u.finish(it)
	}
	if it.unsaved {
		if err := u.save(it); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(u.spool.path(it.Seq, "data"), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		u.Log.Error("data file has vanished from the spool", "type", it.Type, "file", it.Name)
		return u.finish(it)
	case err != nil:
		return u.doom(it, err)
	}
	defer f.Close()
	if err := u.prepare(it, f); err != nil {
		return err
	}
	if it.doomed != nil {
		return u.doom(it, it.doomed)
	}
	return u.exchange(ctx, it, f)
}

// prepare makes sure that what is agreed with the cloud is true of the data f,
// and chooses the part to send.
func (u *Uploader) prepare(it *item, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if size, mtime := info.Size(), info.ModTime().UnixNano(); size != it.Size || mtime != it.MTime {
		// A writer held on to it. Other contents need another id.
		it.Size, it.MTime, it.ID, it.End, it.Renewed = size, mtime, "", 0, false
		if size <= it.Offset {
			it.Offset, it.doomed = 0, errors.New("was changed and became shorter in the spool")
			return nil
		}
		it.unsaved = true
	}
	return nil
}

// sleep waits for d and reports false when ctx ended it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
