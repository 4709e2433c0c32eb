package budget

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

func TestMonth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "budget")
	now := time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	open := func() *Budget {
		b := &Budget{Limit: 100, Now: func() time.Time { return now }}
		b.Open(atomicfile.OS{}, path)
		return b
	}
	b := open()
	if !b.Spend(60) || b.Spend(50) {
		t.Error("110 of 100 bytes are spent, and some are left")
	}
	b.Flush()
	b = open()
	left, more := b.Left()
	if left != -10 || more != time.Hour {
		t.Errorf("after a restart %d bytes are left for %v", left, more)
	}
	now = time.Time{}
	if left, more := b.Left(); left != -10 || more != 0 {
		t.Errorf("at an unknown time %d bytes are left for %v", left, more)
	}
	now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	if left, _ := b.Left(); left != 100 {
		t.Errorf("a month later %d bytes are left", left)
	}
}

func TestNoLimit(t *testing.T) {
	var none *Budget
	none.Open(atomicfile.OS{}, "")
	if left, _ := none.Left(); !none.Spend(1<<30) || left < 1<<60 {
		t.Errorf("%d bytes are left of no limit", left)
	}
	none.Flush()
}
