package ota

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A budget is the bytes that downloads may take of a link in one month of the
// cloud's time. What was spent is durable but for the last spendSave bytes. While
// the time is unknown, the month is the one before.
type budget struct {
	fs    FS
	path  string
	limit int64            // bytes a month; no limit if 0
	now   func() time.Time // zero: unknown

	mu      sync.Mutex
	spent   spending
	unsaved int64
}

// A spending is on disk as it is here.
type spending struct {
	Month string `json:"month"` // 2026-11
	Bytes int64  `json:"bytes"`
}

const spendSave = 1 << 20

// open reads what was spent; nothing readable is nothing spent.
func (b *budget) open(fsys FS, dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fs, b.path = fsys, filepath.Join(dir, "budget")
	var s spending
	if _, err := atomicfile.LoadRecord(fsys, b.path, &s); err == nil && s.Bytes >= 0 {
		b.spent = s
	}
}

// left is how much may be fetched now, and when there is more. A nil budget has
// no limit.
func (b *budget) left() (bytes int64, more time.Duration) {
	if b == nil || b.limit <= 0 {
		return 1 << 62, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.turn()
	if now.IsZero() {
		return b.limit - b.spent.Bytes, maxRetryAfter
	}
	next := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	return b.limit - b.spent.Bytes, min(max(next.Sub(now), minDelay), maxRetryAfter)
}

// turn begins a new month when it has come.
func (b *budget) turn() time.Time {
	now := b.now().UTC()
	if month := now.Format("2006-01"); !now.IsZero() && month != b.spent.Month {
		b.spent, b.unsaved = spending{Month: month}, spendSave
	}
	return now
}

// spend counts n bytes. It reports whether any are left.
func (b *budget) spend(n int) bool {
	if b == nil || b.limit <= 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	b.spent.Bytes += int64(n)
	if b.unsaved += int64(n); b.unsaved >= spendSave {
		b.save()
	}
	return b.spent.Bytes < b.limit
}

// flush makes what was spent durable.
func (b *budget) flush() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unsaved > 0 {
		b.save()
	}
}

// save is tried again with the next bytes if it fails.
func (b *budget) save() {
	if b.fs != nil && atomicfile.SaveRecord(b.fs, b.path, b.spent) == nil {
		b.unsaved = 0
	}
}

// verdict is what becomes of a download when nothing is left.
func (b *budget) verdict() (verdict, bool) {
	left, more := b.left()
	if left > 0 {
		return verdict{}, false
	}
	return verdict{action: wait, idle: true, after: more, why: fmt.Sprintf("the %s of this month are used up", Bytes(b.limit))}, true
}
