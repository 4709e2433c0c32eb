package local

import (
	"cmp"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Each uid may ask so often. A program that polls once a second stays far
// below, one in a tight loop costs the gateway next to nothing.
const (
	perSecond = 20
	burst     = 40
	maxUIDs   = 256 // known at a time

	// Of publishes it may be more: each costs a small part of a write to disk.
	publishPerSecond = 500
	publishBurst     = 1000

	// Who may read tokens may do so for each request to a cloud.
	trustedPerSecond = 2000
	trustedBurst     = 2000
)

// A limiter keeps a bounded table of who asks how often.
type limiter struct {
	rate  rate.Limit // perSecond if 0
	burst int        // burst if 0

	mu   sync.Mutex
	uids map[uint32]*asker
}

type asker struct {
	*rate.Limiter
	last time.Time
}

// allow reports whether uid may ask at now. In a full table the uid that has
// been silent for longest is forgotten, so a flood of uids costs no memory.
func (l *limiter) allow(uid uint32, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.uids[uid]
	if a == nil {
		if l.uids == nil {
			l.uids = make(map[uint32]*asker)
		}
		if len(l.uids) >= maxUIDs {
			l.forget()
		}
		a = &asker{Limiter: rate.NewLimiter(cmp.Or(l.rate, perSecond), cmp.Or(l.burst, burst))}
		l.uids[uid] = a
	}
	a.last = now
	return a.AllowN(now, 1)
}

func (l *limiter) forget() {
	var oldest uint32
	var last time.Time
	for uid, a := range l.uids {
		if last.IsZero() || a.last.Before(last) {
			oldest, last = uid, a.last
		}
	}
	delete(l.uids, oldest)
}

// limiterOf is the limiter for p: who is trusted has one that lets more through.
func (c *calls) limiterOf(p peer) *limiter {
	if c.rights.trusts(p) {
		return &c.trust
	}
	return &c.limiter
}
