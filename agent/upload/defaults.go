package upload

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/time/rate"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/budget"
)

// seams are what the tests of this package replace.
type seams struct {
	box   boxOps
	watch func() (*fsnotify.Watcher, error)
	uid   int // whose files are taken beside root's
}

// setDefaults gives every field that was left out its value.
func (u *Uploader) setDefaults() {
	if u.MaxFile <= 0 {
		u.MaxFile = 1 << 20
	}
	if u.MaxSpool <= 0 {
		u.MaxSpool = 64 << 20
	}
	if u.FS == nil {
		u.FS = atomicfile.OS{}
	}
	if u.Rand == nil {
		u.Rand = rand.Float64
	}
	if u.Log == nil {
		u.Log = slog.Default()
	}
	if u.box == nil {
		u.box = dropOps{}
	}
	if u.watch == nil {
		u.watch = fsnotify.NewWatcher
	}
	if u.uid == 0 {
		u.uid = os.Geteuid()
	}
	if u.wake == nil {
		u.wake = make(chan struct{}, 1)
	}
	if u.Now == nil {
		u.Now = func() (time.Time, bool) { return time.Now(), true }
	}
	if u.Alive == nil {
		u.Alive = func(time.Duration) {}
	}
	if u.RateLimit > 0 && u.limiter == nil {
		u.limiter = rate.NewLimiter(rate.Limit(u.RateLimit), int(min(u.RateLimit, 64<<10)))
	}
	if u.budget == nil {
		u.budget = &budget.Budget{Limit: u.Monthly, Now: func() time.Time {
			if now, known := u.Now(); known {
				return now
			}
			return time.Time{}
		}}
	}
	if u.tally.dropped == nil {
		u.tally.dropped = map[string]int{}
	}
	u.spool.init(u.FS, u.State, u.MaxSpool, u.Quotas)
	u.drop.init(u.Dir)
}
