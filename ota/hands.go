package ota

import (
	"context"
	"errors"
	"time"
)

const lookEvery = 15 * time.Second // at what keeps a payload from being installed

// A hooking is an effect of the machine under way, beside the worker.
type hooking struct {
	cancel context.CancelFunc
	done   chan event
}

// do begins an effect. Its event comes to learn.
func (w *worker) do(ctx context.Context, do effect) {
	if do.do == rest {
		w.notEarly = time.Now().Add(do.after)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	h := &hooking{cancel: cancel, done: make(chan event, 1)}
	j := w.machine.job(do, w.room.held.Notes, w.hookProgress)
	m := w.machine
	w.hook = h
	w.group.Go(func() error {
		ev := m.perform(ctx, j)
		if ctx.Err() == nil {
			h.done <- ev
		}
		return nil
	})
}

// learn takes the machine on. It reports whether an update has ended.
func (w *worker) learn(ctx context.Context, ev event) (over bool) {
	before := w.room.rec.State
	do, err := w.machine.handle(ev)
	w.tell(ev, err)
	if err != nil {
		// Only the disk knows which record is in force.
		w.room, w.machine = nil, nil
		w.m.turns.shut(w.index)
		w.log.Error("update not recorded", "err", err)
		w.blame(err)
		return true
	}
	if now := w.room.rec; now.State != before {
		w.log.Info("update", "version", now.To, "phase", now.State.String(), "was", before.String())
	}
	w.do(ctx, do)
	w.heard(ctx, ev)
	w.reveal()
	if w.room.rec.State == Ready {
		w.consider(ctx)
	}
	return w.room.rec.State == Idle
}

// tell shows what the hook said.
func (w *worker) tell(ev event, err error) {
	if err == nil {
		err = ev.err
	}
	w.m.show(w.index, func(s *ModuleStatus) {
		s.Percent, s.Step, s.LastError = 0, "", ""
		if err != nil {
			s.LastError = err.Error()
		} else if ev.result.Text != "" && ev.result.Code != HookOK {
			s.LastError = ev.result.Text
		}
	})
}

// hookProgress is called by the hook.
func (w *worker) hookProgress(percent int, step string) {
	w.m.show(w.index, func(s *ModuleStatus) {
		s.Percent = min(max(percent, 0), 100)
		if checkText("phase", step, maxName, "") == nil {
			s.Step = step
		}
	})
}

// consider lets a payload that is READY go on to be installed, if nothing is
// against it, and shows what is.
func (w *worker) consider(ctx context.Context) {
	if w.room == nil || w.room.lost || w.hook != nil || w.room.rec.State != Ready || w.storage != nil {
		return
	}
	l := leave{
		policy: w.mod.Policy, approved: w.room.rec.Approved, window: w.m.Rules.Window, now: w.m.serverTime(),
		early: time.Until(w.notEarly), installer: w.m.Installer != nil, foreign: w.room.rec.foreign(),
	}
	ok, why := l.granted()
	if ok && w.m.Rules.Inhibited != nil {
		if reason := w.m.Rules.Inhibited(ctx); reason != "" {
			ok, why = false, "held back: "+reason
		}
	}
	w.m.turns.want(w.index, ok)
	if ok {
		ok, why = w.m.claim(w.index)
	}
	w.m.show(w.index, func(s *ModuleStatus) { s.Waits = why })
	if !ok || ctx.Err() != nil {
		return
	}
	if w.inform(ctx) {
		return
	}
	if !w.checked {
		w.do(ctx, effect{do: call, verb: HookCheck})
		return
	}
	w.m.turns.want(w.index, false)
	w.learn(ctx, event{kind: allowed})
}

// An order is what a person wants of a module.
type order struct {
	back bool // go back; else install
	now  bool // whatever the window says
	done chan error
}

// ErrTooLate means that no update is under way that could be given up.
var ErrTooLate = errors.New("no update is under way that could be undone: one that is permanent gives way to another release alone")

var errNotReady = errors.New("nothing is at hand to be installed")

// obey does what people want.
func (w *worker) obey(ctx context.Context) {
	w.mu.Lock()
	orders := w.orders
	w.orders = nil
	w.mu.Unlock()
	for _, o := range orders {
		err := w.open(ctx)
		switch {
		case err != nil:
		case o.back:
			err = w.goBack(ctx)
		default:
			err = w.approve(ctx, o.now)
			if errors.Is(err, errNotReady) {
				if err = w.check(ctx, true); err == nil {
					err = w.approve(ctx, o.now)
				}
			}
		}
		o.done <- err
	}
}

// approve makes a person's word durable.
func (w *worker) approve(ctx context.Context, now bool) error {
	r := w.room.rec
	switch {
	case r.State.Installs():
		return nil // it is under way
	case r.State == Idle || w.room.lost || !r.State.MayBecome(Withdrawn) && r.State != Verified:
		return errNotReady
	}
	if w.m.Installer == nil {
		return ErrNoInstaller
	}
	next := r
	if next.Approved = approved; now {
		next.Approved = approvedNow
	}
	if err := w.room.put(next); err != nil {
		return err
	}
	w.notEarly = time.Time{}
	w.reveal()
	w.consider(ctx)
	return nil
}

// goBack gives up an update that is not permanent yet.
func (w *worker) goBack(ctx context.Context) error {
	const reason = "given up by a person"
	r := w.room.rec
	d := denial{ID: r.ID, Version: r.To, Reason: reason, Forever: true}
	switch {
	case w.room.lost:
		return ErrTooLate
	case r.State == Broken && w.hook == nil: // perhaps it was mended
		w.learn(ctx, event{kind: started})
		return nil
	case r.State == Rebooting || r.State == Verifying || r.State == Committing:
		w.halt()
		w.learn(ctx, event{kind: unwanted, reason: reason})
		return nil
	case r.State.MayBecome(Withdrawn):
		w.stop()
		w.halt()
		defer w.reveal()
		return w.room.end(Withdrawn, reason, &d)
	}
	return ErrTooLate
}

// halt ends what is done for the machine; a hook goes on.
func (w *worker) halt() {
	if w.hook != nil {
		w.hook.cancel()
		w.hook = nil
	}
}
