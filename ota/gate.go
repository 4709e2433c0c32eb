package ota

import (
	"context"
	"fmt"
)

// prove finds out whether the new version works: its hook must say so, then the
// cloud must take the token over HTTP and MQTT, and then nothing may change for a
// while.
func (m *machine) prove(ctx context.Context, txn Txn) event {
	g, begin := m.gate, m.gate.boot()
	late := func() bool { return g.boot()-begin > g.within }
	for {
		res, err := m.do(ctx, HookVerify, txn)
		if err == nil && res.Code == HookOK {
			break
		}
		if ctx.Err() != nil {
			return event{kind: unproven}
		}
		reason := fmt.Sprintf("the hook does not find the new version healthy (%v)%s", res.Code, saying(res.Text))
		if err != nil {
			reason = "the hook cannot be asked: " + err.Error()
		}
		if err == nil && res.Code != HookLater && res.Code != HookRetry || late() {
			return event{kind: unproven, reason: reason}
		}
		_ = sleep(ctx, g.every, nil)
	}
	heard, reached := false, false
	cause := ""
	for ctx.Err() == nil {
		up := g.online == nil || g.online()
		heard = heard || g.online != nil && up
		if !reached {
			reached, cause = m.reach(ctx, &heard)
		}
		switch {
		case reached && up:
			if g.settle > 0 {
				_ = sleep(ctx, g.settle, nil)
			}
			if ctx.Err() == nil && (g.online == nil || g.online()) {
				return event{kind: proven}
			}
			reached = false
		case reached:
			cause = "the MQTT session is not up"
		}
		if late() {
			return event{kind: unproven, offline: !heard, reason: fmt.Sprintf("the new version does not reach the cloud within %v: %s", g.within, cause)}
		}
		_ = sleep(ctx, g.every, nil)
	}
	return event{kind: unproven}
}

// reach asks the cloud, and notes when it was heard at all.
func (m *machine) reach(ctx context.Context, heard *bool) (bool, string) {
	if m.gate.api == nil {
		return true, ""
	}
	err := m.gate.api(ctx)
	if err == nil {
		*heard = true
		return true, ""
	}
	*heard = *heard || m.gate.heard(err)
	return false, err.Error()
}
