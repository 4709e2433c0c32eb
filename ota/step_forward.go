package ota

import "fmt"

// checked is VERIFIED: the hook looks at the payload before anybody may want to
// install it.
func (r record) checked(ev event, now moment) (record, effect) {
	switch {
	case ev.kind != ended:
		return r, effect{do: call, verb: HookCheck}
	case ev.err == nil && ev.result.refused():
		return r.refuse(ev.result, now)
	case ev.err == nil && ev.result.Code == HookRetry:
		return r.recheck(ev.result, now)
	}
	r.State, r.CK = Ready, 0 // whoever could not tell is asked again before anything is installed
	return r, effect{do: rest}
}

// recheck has a check that failed oddly repeated, once.
func (r record) recheck(result Result, now moment) (record, effect) {
	if r.CK++; r.CK >= maxChecks {
		result.Code = HookReject
		return r.refuse(result, now)
	}
	after := max(askAgain, min(result.RetryAfter, maxRetryAfter))
	if r.State == Ready {
		return r, effect{do: rest, after: after}
	}
	return r, effect{do: pause, after: after, then: &effect{do: call, verb: HookCheck}}
}

// ready is READY, which waits for leave to go on.
func (r record) ready(ev event, now moment) (record, effect) {
	switch {
	case ev.kind == ended && ev.err != nil:
		return r, effect{do: rest, after: laterTime}
	case ev.kind == ended && ev.result.refused():
		return r.refuse(ev.result, now)
	case ev.kind == ended && ev.result.Code == HookRetry:
		return r.recheck(ev.result, now)
	case ev.kind == ended && ev.result.Code != HookOK:
		return r, effect{do: rest, after: ev.result.later()}
	case ev.kind == ended:
		r.CK = 0
		return r, effect{do: rest}
	case ev.kind == allowed && r.AI >= maxInstalls:
		return r.fail(fmt.Sprintf("it was tried %d times", r.AI))
	case ev.kind == allowed:
		r.State = Installing
		return r.install()
	}
	return r, effect{do: rest}
}

// install counts an attempt. What is installed is asked for first: never is a
// hook run over the version that it would install.
func (r record) install() (record, effect) {
	r.AI++
	return r, effect{do: probe, fresh: true}
}

func (r record) installing(ev event, now moment) (record, effect) {
	switch ev.kind {
	case ended:
		switch {
		case ev.err != nil:
			return r, effect{do: probe}
		case ev.result.Code == HookOK:
			return r.verify()
		case ev.result.Code == HookOKReboot:
			return r.reboot()
		}
		return r, effect{do: probe, last: &ev.result} // what it says of itself is to be confirmed
	case probed:
		switch ev.result.Code {
		case HookActive:
			return r.verify()
		case HookStaged:
			return r.reboot()
		}
		if ev.fresh {
			return r, effect{do: call, verb: HookInstall}
		}
		return r.notInstalled(ev, now)
	}
	return r, effect{do: probe}
}

// notInstalled is after an attempt that left the previous version, or damage.
func (r record) notInstalled(ev event, now moment) (record, effect) {
	last := Result{Code: HookChanged, Text: "it was cut short"}
	if ev.last != nil {
		last = *ev.last
	}
	refused := last.refused()
	reason := fmt.Sprintf("not installed in %d tries (%v)%s", r.AI, last.Code, saying(last.Text))
	if ev.result.Code == HookPrevious {
		switch {
		case refused:
			return r.refuse(last, now)
		case last.Code == HookLater:
			r.State = Ready
			r.AI, r.Writes = r.AI-1, max(r.Writes-2, 0) // it does not count
			return r, effect{do: rest, after: last.later()}
		case r.AI >= maxInstalls:
			r.Deny = &denial{ID: r.ID, Version: r.To, Reason: reason, Until: now.Wall.Add(failedTime)}
			return r.fail(reason)
		case last.Code == HookRetry || last.Code == HookUnchanged:
			r.State = Ready
			return r, effect{do: rest, after: last.later()}
		}
		return r.install()
	}
	if refused || r.AI >= maxInstalls {
		return r.back(reason, !refused, now)
	}
	return r.install() // the same once more repairs
}

// reboot counts and asks for a reboot into the new version.
func (r record) reboot() (record, effect) {
	r.State = Rebooting
	r.BR++
	return r, effect{do: reboot}
}

func (r record) rebooting(ev event, now moment) (record, effect) {
	switch {
	case ev.kind == unwanted:
		return r.back(ev.reason, false, now)
	case ev.kind == started && r.BootID != now.BootID:
		return r.verify()
	case r.BR >= maxReboots:
		return r.back(fmt.Sprintf("no reboot came, asked for %d times", r.BR), true, now)
	}
	return r.reboot()
}

// verify begins the probation, or begins it anew.
func (r record) verify() (record, effect) {
	if r.State != Verifying {
		r.State, r.AV = Verifying, 0
	}
	r.AV++
	return r, effect{do: prove}
}

func (r record) verifying(ev event, now moment) (record, effect) {
	switch ev.kind {
	case unwanted:
		return r.back(ev.reason, false, now)
	case proven:
		r.State = Committing
		return r, effect{do: probe}
	case started:
		switch {
		case r.Process == now.Process:
			return r, effect{do: prove} // new settings are no new start
		case r.AV >= maxVerifies:
			return r.back(fmt.Sprintf("not proven in %d starts", r.AV), false, now)
		}
		return r.verify()
	case unproven:
		switch {
		case !ev.offline:
			return r.back(ev.reason, false, now)
		case now.Offline == OfflineCommit:
			r.State = Committing
			return r, effect{do: probe}
		case now.Offline == OfflineRollback || r.AV >= maxVerifies:
			return r.back(ev.reason, true, now)
		}
		return r.verify()
	}
	return r, effect{do: prove}
}

// committing asks what runs before each attempt: the boot loader may have gone
// back while the power was off.
func (r record) committing(ev event, now moment) (record, effect) {
	switch {
	case ev.kind == unwanted:
		return r.back(ev.reason, false, now)
	case ev.kind == probed && ev.result.Code != HookActive:
		return r.back(fmt.Sprintf("the new version does not run any more (%v)", ev.result.Code), false, now)
	case ev.kind == probed && r.AC >= maxCommits:
		return r.back(fmt.Sprintf("not made permanent in %d tries", r.AC), true, now)
	case ev.kind == probed:
		r.AC++
		return r, effect{do: call, verb: HookCommit}
	case ev.kind == ended && (ev.result.Code == HookOK || ev.result.Code == HookOKReboot):
		r.State, r.Reason = Committed, "installed and proven"
		return r, effect{do: finish}
	case ev.kind == ended:
		return r, effect{do: pause, after: max(retryCommit, ev.result.RetryAfter), then: &effect{do: probe}}
	}
	return r, effect{do: probe}
}

// rollingBack repeats until the hook's probe says that the previous version
// runs.
func (r record) rollingBack(ev event, _ moment) (record, effect) {
	switch {
	case ev.kind == ended && ev.result.Code == HookOK:
		return r, effect{do: probe}
	case ev.kind == ended && ev.result.Code == HookOKReboot:
		r.State = RollbackReboot
		r.BR++
		return r, effect{do: reboot}
	case ev.kind == ended && ev.result.Code == HookLater:
		return r, effect{do: pause, after: ev.result.later(), then: &effect{do: call, verb: HookRollback}}
	case ev.kind == probed && ev.result.Code == HookPrevious:
		return r.fail(r.Reason)
	case r.AR >= maxRollbacks:
		r.State = Broken
		return r, effect{do: probe}
	case ev.kind == started:
		return r.rollback(0)
	}
	return r.rollback(askAgain)
}

func (r record) rollbackReboot(ev event, now moment) (record, effect) {
	switch {
	case ev.kind == probed && ev.result.Code == HookPrevious:
		return r.fail(r.Reason)
	case ev.kind == probed:
		return r.back("", false, now)
	case ev.kind == started && r.BootID != now.BootID:
		return r, effect{do: probe}
	case r.BR >= 2*maxReboots:
		return r.back("", false, now)
	}
	r.BR++
	return r, effect{do: reboot}
}
