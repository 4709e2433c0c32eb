// Package budget counts the bytes that a link may carry in a calendar month.
package budget

import (
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A Budget is a number of bytes for each month of the cloud's time. What was
// spent is durable but for the last mebibyte. While the time is unknown, the
// month is the one before. A nil Budget has no limit. Its fields are set before
// Open.
type Budget struct {
	Limit int64            // bytes a month; no limit if 0
	Now   func() time.Time // the cloud's; zero: unknown

	mu      sync.Mutex
	fs      atomicfile.FS
	path    string
	spent   spending
	unsaved int64
}

// A spending is on disk as it is here.
type spending struct {
	Month string `json:"month"` // 2026-11
	Bytes int64  `json:"bytes"`
}

const spendSave = 1 << 20

// Open reads what was spent from the record at path, and keeps it there;
// nothing readable is nothing spent.
func (b *Budget) Open(fsys atomicfile.FS, path string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fs, b.path = fsys, path
	var s spending
	if _, err := atomicfile.LoadRecord(b.fs, b.path, &s); err == nil && s.Bytes >= 0 {
		b.spent = s
	}
}

// Left is how many bytes are left of this month, and how long until there are
// more; zero if nobody knows.
func (b *Budget) Left() (bytes int64, more time.Duration) {
	if b == nil || b.Limit <= 0 {
		return 1 << 62, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.turn()
	left := b.Limit - b.spent.Bytes
	if now.IsZero() {
		return left, 0
	}
	return left, time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC).Sub(now)
}

// turn begins a new month when it has come.
func (b *Budget) turn() time.Time {
	now := b.Now()
	if now.IsZero() {
		return now
	}
	now = now.UTC()
	if month := now.Format("2006-01"); month != b.spent.Month {
		b.spent, b.unsaved = spending{Month: month}, spendSave
	}
	return now
}

// Spend counts n bytes. It reports whether any are left.
func (b *Budget) Spend(n int) bool {
	if b == nil || b.Limit <= 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	b.spent.Bytes += int64(n)
	if b.unsaved += int64(n); b.unsaved >= spendSave {
		b.save()
	}
	return b.spent.Bytes < b.Limit
}

// Flush makes what was spent durable.
func (b *Budget) Flush() {
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
func (b *Budget) save() {
	if b.fs != nil && atomicfile.SaveRecord(b.fs, b.path, b.spent) == nil {
		b.unsaved = 0
	}
}
