package ota

import (
	"context"
	"maps"
	"reflect"
	"time"
)

// A machine takes one module's update through its states: what it is to do next
// comes from record.next, is durable in the room, and is then done.
type machine struct {
	room      *room
	installer Installer // none if nil
	gate      gate
	now       func() moment
}

// handle makes what follows from ev durable and returns what is to be done then.
// After an error the room must be opened again: only the disk knows.
func (m *machine) handle(ev event) (effect, error) {
	r, now := m.room.rec, m.now()
	if m.room.lost && ev.kind != probed {
		if ev.kind == waited {
			return *ev.then, nil
		}
		return effect{do: probe}, nil
	}
	if ev.kind == cleaned {
		return effect{do: rest}, m.room.clear()
	}
	next, do := r.next(ev, now)
	if m.room.lost {
		next, do = r.recovered(ev, now)
	}
	if len(ev.result.Settings) > 0 {
		next.Set = keep(next.Set, ev.result.Settings)
	}
	if reflect.DeepEqual(next, r) {
		return do, nil
	}
	next.BootID, next.Process = now.BootID, now.Process
	return do, m.room.put(next)
}

// The most that a hook may keep with an update.
const (
	maxSettings = 32
	maxSetting  = 256 // bytes of a key or a value
)

func keep(have, more map[string]string) map[string]string {
	kept := maps.Clone(have)
	if kept == nil {
		kept = map[string]string{}
	}
	for k, v := range more {
		if _, ok := kept[k]; (ok || len(kept) < maxSettings) && checkText("key", k, maxSetting, "") == nil && checkText("value", v, maxSetting, "") == nil {
			kept[k] = v
		}
	}
	return kept
}

// A job is an effect with what it needs to know: it is done beside the goroutine
// that owns the room.
type job struct {
	effect
	state   Phase
	touched bool // something may have been installed
	txn     Txn
}

// job makes do one, with progress told to the func given.
func (m *machine) job(do effect, notes string, progress func(int, string)) job {
	r := m.room.rec
	t := Txn{
		Seq: r.Seq, Module: r.Module, ID: r.ID, From: r.From, To: r.To, Notes: notes,
		Payload: m.room.payload(), Attempt: 1, Reason: r.State.String(), Progress: progress,
	}
	switch r.State {
	case Verified, Ready:
		t.Attempt = r.CK + 1
	case Installing:
		t.Attempt = r.AI
	case Verifying:
		t.Attempt = r.AV
	case Committing:
		t.Attempt = r.AC
	case RollingBack, RollbackReboot:
		t.Attempt, t.Reason = r.AR, r.Reason
	}
	t.Attempt = max(t.Attempt, 1)
	return job{do, r.State, r.AI > 0, t}
}

// perform does j and returns what was learned. It returns early, with nothing
// that may be used, when ctx is done.
func (m *machine) perform(ctx context.Context, j job) event {
	if m.installer == nil && (j.do == probe || j.do == call || j.do == reboot || j.do == prove) {
		return m.without(j)
	}
	switch j.do {
	case probe:
		return m.probe(ctx, j)
	case call:
		if err := m.idle(ctx, j.txn); err != nil {
			return event{kind: ended, verb: j.verb, err: err}
		}
		res, err := m.do(ctx, j.verb, j.txn)
		return event{kind: ended, verb: j.verb, result: res, err: err}
	case reboot:
		err := m.installer.Reboot(ctx, j.txn)
		_ = sleep(ctx, askAgain, nil)
		return event{kind: still, err: err}
	case prove:
		return m.prove(ctx, j.txn)
	case pause:
		_ = sleep(ctx, j.after, nil)
		return event{kind: waited, then: j.then}
	case finish:
		if m.installer != nil && j.touched {
			_, _ = m.do(ctx, HookCleanup, j.txn) // what is left over is no reason not to tell the outcome
		}
		return event{kind: cleaned}
	}
	return event{kind: started}
}

func (m *machine) without(j job) event {
	kind := ended
	if j.do == probe {
		kind = probed
	}
	return event{kind: kind, verb: j.verb, err: ErrNoInstaller, fresh: j.fresh, last: j.last}
}

// do runs a verb and reads its answer by the contract.
func (m *machine) do(ctx context.Context, verb Verb, txn Txn) (Result, error) {
	res, err := m.installer.Do(ctx, verb, txn)
	res.Code = verb.Meaning(res.Code)
	return res, err
}

// idle waits until no hook of the module runs.
func (m *machine) idle(ctx context.Context, txn Txn) error {
	for {
		busy, err := m.installer.Running(ctx, txn)
		if busy == nil || err != nil {
			return err
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// probe waits for a hook that an earlier run of the agent left, and asks what is
// installed. How an attempt of that run ended is worth knowing, too.
func (m *machine) probe(ctx context.Context, j job) event {
	ev := event{kind: probed, fresh: j.fresh, last: j.last}
	if ev.err = m.idle(ctx, j.txn); ev.err != nil {
		return ev
	}
	if j.state == Installing && !j.fresh && j.last == nil {
		if last, ok, err := m.installer.Last(ctx, HookInstall, j.txn); ok && err == nil {
			last.Code = HookInstall.Meaning(last.Code)
			ev.last = &last
		}
	}
	ev.result, ev.err = m.do(ctx, HookProbe, j.txn)
	return ev
}

// A gate is what a new version must pass to stay.
type gate struct {
	within time.Duration // of boot time
	settle time.Duration // without a restart, once it works
	every  time.Duration // between two looks
	boot   func() time.Duration
	// api asks the cloud something with the token; heard reports whether an
	// error of it is the cloud's word. Both are nil where there is no cloud.
	api   func(context.Context) error
	heard func(error) bool
	// online reports whether the MQTT session is up; nil: it does not matter.
	online func() bool
}
