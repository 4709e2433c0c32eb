package ota

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRollbackThatFailsEndsWithAPerson after three tries; what a person mended is
// seen at the next start.
func TestRollbackThatFailsEndsWithAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Install)
		d.sick, d.answer[HookRollback] = true, HookChanged
		g.cloud.put(file("7", "1.1"), contents(7))
		g.start()
		defer func() { g.end() }()
		s := g.until("broken", in(Broken))
		if n := strings.Count(d.did(), "rollback"); n != maxRollbacks || !strings.HasPrefix(s.Reason, "a person must act") {
			t.Errorf("%d rollbacks: %s", n, s.Reason)
		}
		time.Sleep(24 * time.Hour)
		g.restart()
		g.until("broken still", in(Broken))
		g.cloud.set(func() { g.installed = "1.0" })
		g.restart()
		g.until("over", outcomeIs("1.1 FAILED: the hook does not find the new version healthy"))
	})
}
