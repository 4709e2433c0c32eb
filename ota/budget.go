package ota

import (
	"fmt"

	"github.com/spoke-zone/spoke-zone-agent/agent/budget"
)

// spent is what becomes of a download when nothing of the month's budget is
// left.
func spent(b *budget.Budget) (verdict, bool) {
	left, more := b.Left()
	if left > 0 {
		return verdict{}, false
	}
	after := maxRetryAfter
	if more > 0 {
		after = min(max(more, minDelay), maxRetryAfter)
	}
	return verdict{action: wait, idle: true, after: after, why: fmt.Sprintf("the %s of this month are used up", Bytes(b.Limit))}, true
}
