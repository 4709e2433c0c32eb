package ota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	maxWaiting    = 64 // calls of Check and Fetch
	maxFirstCheck = 30 * time.Second
)

// A worker looks after one module. Its run owns the room; the download is a
// goroutine beside it, so that a release can be taken back while it is fetched.
type worker struct {
	m     *Manager
	mod   Module
	index int
	log   *slog.Logger
	wake  chan struct{} // somebody waits

	mu      sync.Mutex
	waiting []waiter
	orders  []order

	// Only run touches these.
	room     *room
	machine  *machine
	group    errgroup.Group
	dl       *running
	hook     *hooking
	informed bool      // the hook has told what it can do, in this run
	checked  bool      // the hook has found the payload fit, in this run
	notEarly time.Time // before which nothing is installed

	reporting chan error // of the report under way
	told      []string   // the outcomes in it
	reportAt  time.Time  // not before
	storage   error      // the disk has failed for good
	listing   string     // fingerprint of the last one
	failures  int        // checks in a row
}

type waiter struct {
	fetch bool
	done  chan error
}

// A running download.
type running struct {
	cancel context.CancelFunc
	wake   chan struct{}
	done   chan result
}

type result struct {
	payload Payload
	err     error
}

func newWorker(m *Manager, mod Module, index int) *worker {
	return &worker{m: m, mod: mod, index: index, log: m.Log.With("module", mod.Key), wake: make(chan struct{}, 1)}
}

// run works until ctx is done.
func (w *worker) run(ctx context.Context) {
	defer func() { _ = w.group.Wait() }()
	w.m.show(w.index, func(s *ModuleStatus) { s.Fault = "" })
	if err := w.open(ctx); err != nil {
		w.blame(err)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	plan := func(d time.Duration) {
		timer.Reset(d)
		w.m.show(w.index, func(s *ModuleStatus) { s.NextCheck = time.Now().Add(d) })
	}
	plan(time.Duration(w.m.Rand() * float64(min(maxFirstCheck, w.m.CheckEvery/10))))
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		var done chan result
		if w.dl != nil {
			done = w.dl.done
		}
		var learned chan event
		if w.hook != nil {
			learned = w.hook.done
		}
		w.report(ctx)
		var looks <-chan time.Time // nil wakes nobody
		if w.waits() {
			looks = look.C
		}
		select {
		case <-ctx.Done():
			return
		case r := <-done:
			if again := w.downloaded(ctx, r); again {
				plan(backoff(1, w.m.Rand()))
			}
		case ev := <-learned:
			w.hook = nil
			if again := w.learn(ctx, ev); again {
				plan(0) // what comes after an outcome is looked for at once
			}
		case err := <-w.reporting:
			w.reported(err)
		case <-looks:
			w.consider(ctx)
		case <-timer.C:
			plan(w.round(ctx))
		case <-w.wake:
			w.obey(ctx)
			if w.asked() {
				plan(w.round(ctx))
			}
		}
	}
}

// waits reports whether there is something to look at between two checks: a
// payload that is not installed yet, or an outcome to report again.
func (w *worker) waits() bool {
	return w.room != nil && (w.room.rec.State == Ready || !w.reportAt.IsZero())
}

// round checks once, answers whoever waits for it and returns when to check
// again.
func (w *worker) round(ctx context.Context) time.Duration {
	fetch := w.fetchAsked()
	err := w.check(ctx, fetch)
	if ctx.Err() != nil {
		return 0
	}
	if err == nil || errors.Is(err, ErrNothing) {
		w.failures = 0
		w.answer(err, fetch)
		return time.Duration((0.9 + 0.2*w.m.Rand()) * float64(w.m.CheckEvery))
	}
	w.failures++
	again := min(backoff(w.failures, w.m.Rand()), w.m.CheckEvery)
	var status statusError
	if errors.As(err, &status) && status.RetryAfter() > 0 {
		again = max(again, clampRetry(status.RetryAfter()))
	}
	w.log.Warn("check for updates", "err", err, "attempt", w.failures, "retry_in", again.Round(time.Millisecond))
	w.blame(err)
	w.answer(err, fetch)
	return again
}

func (w *worker) blame(err error) {
	w.m.show(w.index, func(s *ModuleStatus) { s.LastError = err.Error() })
}

// ask has run check, and waits for it.
func (w *worker) ask(ctx context.Context, fetch bool) error {
	me := waiter{fetch, make(chan error, 1)}
	w.mu.Lock()
	if len(w.waiting) >= maxWaiting {
		w.mu.Unlock()
		return ErrBusy
	}
	w.waiting = append(w.waiting, me)
	w.mu.Unlock()
	w.nudge()
	select {
	case err := <-me.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) asked() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting) > 0
}

func (w *worker) fetchAsked() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, waiting := range w.waiting {
		if waiting.fetch {
			return true
		}
	}
	return false
}

// answer ends the waiting of all whom the check just made serves. One who asked
// to fetch after a mere check had begun is served by the next.
func (w *worker) answer(err error, fetch bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(err, ErrNotRunning) {
		for _, o := range w.orders {
			o.done <- err
		}
		w.orders = nil
	}
	var later []waiter
	for _, waiting := range w.waiting {
		switch {
		case !waiting.fetch && errors.Is(err, ErrNothing):
			waiting.done <- nil
		case !waiting.fetch || fetch:
			waiting.done <- err
		default:
			later = append(later, waiting)
		}
	}
	if w.waiting = later; later != nil {
		w.nudge()
	}
}

// open recovers the room; it is repeated at every check until it succeeds.
func (w *worker) open(ctx context.Context) error {
	if w.room != nil {
		return nil
	}
	r, err := openRoom(w.m.FS, w.m.Dir, w.mod.Key)
	if err == nil || errors.Is(err, errForeign) {
		defer w.m.turns.open(w.index)
	}
	if err != nil {
		return err
	}
	if !r.lost && (r.rec.State == Verified || r.rec.State == Ready) {
		// Bit rot, a cleanup by hand: what was verified is verified again.
		err := r.payload().verify(ctx, r.fs)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			w.log.Warn("payload lost", "version", r.rec.To, "err", err)
			if err := r.end(Failed, fmt.Sprintf("payload lost: %v", err), nil); err != nil {
				return err
			}
		}
	}
	w.room, w.informed, w.checked, w.notEarly = r, false, false, time.Time{}
	w.machine = &machine{room: r, installer: w.m.Installer, gate: w.m.gate(w.mod.Key), now: w.m.moment}
	return w.advance(ctx)
}
