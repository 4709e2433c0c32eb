package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

const (
	quiet    = 2 * time.Second  // no change for so long before a program is told
	patience = 10 * time.Second // but it is told after so long
	recheck  = 5 * time.Minute  // how often a file is looked at that nobody should have changed
	firstTry = time.Second      // the wait after the first failure
	lastTry  = 5 * time.Minute  // and the longest
)

// A worker serves one target. Only run touches what is not status.
type worker struct {
	*Account
	target Target
	log    *slog.Logger
	status latest.Value[Status]

	seen    string    // fingerprint of the newest token
	told    string    // fingerprint of the token that the reader knows
	loaded  bool      // told has been read
	pending string    // fingerprint of the token that the reader is to be told of
	first   time.Time // when the first token came that is not told
	newest  time.Time // when pending came
	fails   int       // in a row
	retry   time.Time // not before
}

// run follows the token until ctx is done.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		tok, ok, changed := w.Current()
		wait := recheck
		if ok {
			wait = w.step(ctx, tok)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// step does what is due and returns how long there is nothing to do.
func (w *worker) step(ctx context.Context, tok Token) time.Duration {
	if print := fingerprint(tok); print != w.seen {
		w.seen, w.retry, w.fails = print, time.Time{}, 0 // what failed may work
	}
	if wait := time.Until(w.retry); wait > 0 {
		return wait
	}
	if w.target.File != "" {
		changed, err := w.put(w.target, tok)
		if err != nil {
			return w.failed(ctx, err)
		}
		if changed {
			w.log.Info("token delivered", "file", w.target.File)
			w.note(func(s *Status) { s.Written = time.Now() })
		}
	}
	w.expect(w.seen, time.Now())
	if wait := w.dueIn(time.Now()); wait > 0 {
		state := Delivered
		if w.pending != "" {
			state = Telling
		}
		w.note(func(s *Status) { s.State = state })
		w.worked()
		return wait
	}
	if err := w.tell(ctx, tok); err != nil {
		return w.failed(ctx, err)
	}
	w.remember(w.pending)
	w.pending = ""
	w.log.Info("told of the new token", "who", w.target.Notify.String())
	w.note(func(s *Status) { s.State, s.Told = Delivered, time.Now() })
	w.worked()
	return recheck
}

func (w *worker) tell(ctx context.Context, tok Token) error {
	if w.telling != nil {
		return w.telling(ctx, w.target, tok)
	}
	return w.target.Notify.tell(ctx, w.target, tok)
}

// expect notes that the reader should know the token with that fingerprint. An
// account whose token lives longer has the same one: nobody is told.
func (w *worker) expect(print string, now time.Time) {
	if w.target.Notify.IsZero() {
		return
	}
	if !w.loaded {
		w.told, w.loaded = w.recall(), true
	}
	switch {
	case print == w.told:
		w.pending = ""
	case print != w.pending:
		if w.pending == "" {
			w.first = now
		}
		w.pending, w.newest = print, now
	}
}

// dueIn is how long to wait before the reader is told: until the changes have
// settled, but not for ever.
func (w *worker) dueIn(now time.Time) time.Duration {
	if w.pending == "" {
		return recheck
	}
	return min(w.newest.Add(quiet).Sub(now), w.first.Add(patience).Sub(now))
}

func (w *worker) failed(ctx context.Context, err error) time.Duration {
	if ctx.Err() != nil {
		return recheck
	}
	wait := backoff(w.fails, rand.Float64())
	w.fails++
	w.retry = time.Now().Add(wait)
	w.log.Warn("delivery failed", "err", err, "attempt", w.fails, "retry_in", wait.Round(time.Millisecond))
	w.note(func(s *Status) {
		s.State, s.Error, s.Attempt, s.NextTry = Failing, err.Error(), w.fails, w.retry
	})
	return wait
}

func (w *worker) worked() {
	w.fails, w.retry = 0, time.Time{}
	w.note(func(s *Status) { s.Error, s.Attempt, s.NextTry = "", 0, time.Time{} })
}

// backoff doubles from firstTry to lastTry, and is spread afterwards.
func backoff(fails int, draw float64) time.Duration {
	wait := lastTry
	if fails < 16 {
		wait = min(lastTry, firstTry<<fails)
	}
	return wait + time.Duration(draw*float64(wait)/2)
}

// note changes the status.
func (w *worker) note(change func(*Status)) {
	s, _, _ := w.status.Get()
	old := s
	change(&s)
	if s.State != old.State {
		s.Since = time.Now()
	}
	if s != old {
		w.status.Set(s)
	}
}

// A record is what the state directory keeps of a target.
type record struct {
	Told string `json:"told"`
}

// fingerprint tells tokens apart and gives nothing away.
func fingerprint(tok Token) string {
	sum := sha256.Sum256([]byte(tok.Value))
	return hex.EncodeToString(sum[:16])
}

func (w *worker) recordPath() string { return filepath.Join(w.Records, w.Name+"+"+w.target.ID) }

// recall is empty where nothing is known: then the reader is told once more.
func (w *worker) recall() string {
	var r record
	if w.Records == "" {
		return ""
	}
	if _, err := atomicfile.LoadRecord(w.fs(), w.recordPath(), &r); err != nil {
		return ""
	}
	return r.Told
}

// remember may fail on a disk that takes no writes: then the reader is told
// once more after the next start.
func (w *worker) remember(print string) {
	w.told = print
	if w.Records == "" {
		return
	}
	if err := atomicfile.SaveRecord(w.fs(), w.recordPath(), record{print}); err != nil {
		w.log.Debug("delivery not remembered", "err", err)
	}
}

func (a *Account) fs() atomicfile.FS {
	if a.disk != nil {
		return a.disk
	}
	return atomicfile.OS{}
}
