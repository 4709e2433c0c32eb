package ota

import (
	"fmt"
	"time"
)

// How often a step may be tried for one update. Every try is in the record
// before it begins, so that no cut can repeat one for ever.
const (
	maxChecks    = 2 // that fail oddly, in a row
	maxInstalls  = 2
	maxReboots   = 3 // into the new version; as many again on the way back
	maxVerifies  = 3 // starts of the agent on probation
	maxCommits   = 8
	maxRollbacks = 3
	maxWrites    = 64 // of the record; then the way back
	maxBackWrite = 96 // then a person
)

// How long to wait between tries.
const (
	askAgain    = time.Minute // of an installer that does not answer, and of a reboot
	laterTime   = 10 * time.Minute
	failedTime  = 24 * time.Hour // that a release is passed over after a fault that may pass
	minLater    = time.Minute
	probeAgain  = 30 * time.Second
	retryCommit = 30 * time.Second
)

// An OfflinePolicy is what becomes of a new version that finds no network at all.
type OfflinePolicy string

// The offline policies.
const (
	OfflineRollback OfflinePolicy = "rollback" // after the first deadline
	OfflineWait     OfflinePolicy = "wait"     // after three starts or deadlines
	OfflineCommit   OfflinePolicy = "commit"   // keep it: its own hook found it healthy
)

// A moment is when a decision is made.
type moment struct {
	BootID  string    // names the boot: a restart of the agent has the same
	Process string    // names the process
	Wall    time.Time // only for the end of denials
	Offline OfflinePolicy
}

// An event is what the machine has learned.
type event struct {
	kind    occurrence
	verb    Verb   // of ended
	result  Result // of ended and probed
	err     error  // of ended and probed: nothing is known
	fresh   bool   // of probed: see effect
	last    *Result
	reason  string // of unproven and unwanted
	offline bool   // of unproven: nothing of the cloud was heard
	then    *effect
}

type occurrence uint8

const (
	started  occurrence = iota // the agent was; nothing of ours runs but perhaps a hook
	allowed                    // READY may become INSTALLING
	probed                     // the hook has told what is installed
	ended                      // a verb has
	still                      // a reboot was asked for and has not come
	proven                     // the new version works
	unproven                   // it does not
	unwanted                   // a person wants to go back
	waited                     // long enough
	cleaned                    // the hook has dropped what it needed no more
)

// An effect is what is to be done next; the record that names it is durable by
// then.
type effect struct {
	do    deed
	verb  Verb
	fresh bool          // of probe: an attempt to install is counted and not yet made
	last  *Result       // of probe: how the attempt before ended, if that is known
	after time.Duration // of pause; of rest: not before
	then  *effect       // of pause
}

type deed uint8

const (
	rest   deed = iota // wait for what is outside
	probe              // wait for a hook that runs, then ask what is installed
	call               // a verb
	reboot             // ask for one, and see whether it comes
	prove              // that the new version works
	pause              // and then do another
	resume             // decide again, as at the start
	finish             // clean up and record the outcome
)

// next is the machine: from where an update stands and what was learned it tells
// where the update stands now, and what to do. It is pure. When too much has been
// written for one update it turns to the safe side, whatever else it knows.
func (r record) next(ev event, now moment) (record, effect) {
	n, do := r.decide(ev, now)
	switch n.State {
	case Installing, Rebooting, Verifying, Committing:
		if n.Writes >= maxWrites && r.State != Ready {
			n = r
			return n.back(fmt.Sprintf("the record was written %d times", n.Writes), false, now)
		}
	case RollingBack, RollbackReboot:
		if n.Writes >= maxBackWrite {
			n.State, n.AR = RollingBack, maxRollbacks
			return n, effect{do: resume}
		}
	}
	return n, do
}

func (r record) decide(ev event, now moment) (record, effect) {
	if ev.kind == waited {
		return r, *ev.then
	}
	if ev.verb == HookInfo {
		if r.State == Ready && ev.err != nil {
			return r, effect{do: rest, after: laterTime}
		}
		return r, effect{do: rest} // what it said is kept
	}
	unknown := ev.kind == probed || ev.kind == ended && ev.verb != HookInstall && ev.verb != HookCheck
	if unknown && ev.err != nil {
		return r, effect{do: pause, after: askAgain, then: &effect{do: probe, fresh: ev.fresh, last: ev.last}}
	}
	if ev.kind == probed && ev.result.Code == HookRunning {
		return r, effect{do: pause, after: probeAgain, then: &effect{do: probe, fresh: ev.fresh, last: ev.last}}
	}
	switch r.State {
	case Verified:
		return r.checked(ev, now)
	case Ready:
		return r.ready(ev, now)
	case Installing:
		return r.installing(ev, now)
	case Rebooting:
		return r.rebooting(ev, now)
	case Verifying:
		return r.verifying(ev, now)
	case Committing:
		return r.committing(ev, now)
	case RollingBack:
		return r.rollingBack(ev, now)
	case RollbackReboot:
		return r.rollbackReboot(ev, now)
	case Broken:
		if ev.kind == probed && ev.result.Code == HookPrevious {
			return r.fail(r.Reason)
		}
		if ev.kind == started {
			return r, effect{do: probe}
		}
	case Committed, Failed, Withdrawn:
		return r, effect{do: finish}
	}
	return r, effect{do: rest}
}

// fail is the end on the previous version.
func (r record) fail(reason string) (record, effect) {
	r.State, r.Reason = Failed, reason
	return r, effect{do: finish}
}

// refuse is fail after the word of a hook that the release is not for this
// device, or not now.
func (r record) refuse(result Result, now moment) (record, effect) {
	reason := fmt.Sprintf("the hook refuses it (%v)%s", result.Code, saying(result.Text))
	r.Deny = &denial{ID: r.ID, Version: r.To, Reason: reason, Forever: true}
	if result.Code == HookNoSpace {
		r.Deny.Forever, r.Deny.Need = false, result.NeedBytes
		r.Deny.Until = now.Wall.Add(denyTime)
	}
	return r.fail(reason)
}

// back begins the way back, and denies the release: for good, or for a while
// when the release may not be to blame.
func (r record) back(reason string, passing bool, now moment) (record, effect) {
	r.State = RollingBack
	if r.Reason == "" {
		r.Reason = reason
	}
	if r.Deny == nil {
		r.Deny = &denial{ID: r.ID, Version: r.To, Reason: reason, Forever: !passing}
		if passing {
			r.Deny.Until = now.Wall.Add(failedTime)
		}
	}
	return r.rollback(0)
}

// rollback counts and makes an attempt to go back, after a while. A hook that
// cannot go back is not asked to: only what is installed counts then.
func (r record) rollback(after time.Duration) (record, effect) {
	if r.Set[infoRollback] == "no" {
		r.AR = maxRollbacks
		return r, effect{do: probe}
	}
	if r.AR >= maxRollbacks {
		return r, effect{do: resume}
	}
	r.AR++
	do := effect{do: call, verb: HookRollback}
	if after > 0 {
		return r, effect{do: pause, after: after, then: &do}
	}
	return r, do
}

// later is how long a hook asks to wait.
func (r Result) later() time.Duration {
	if r.RetryAfter <= 0 {
		return laterTime
	}
	return min(max(r.RetryAfter, minLater), maxRetryAfter)
}

// refused reports whether the hook wants the payload never, or not now.
func (r Result) refused() bool { return r.Code >= HookReject && r.Code <= HookDowngrade }

func saying(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}
