package systemd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Watchdog tells systemd that the agent is alive for as long as healthy
// returns nil, twice as often as the unit's WatchdogSec asks for. Otherwise it
// says why in the status line and stays silent, whereupon systemd kills and
// restarts the agent. It blocks until ctx is done, also when the unit asks for
// no watchdog; its error is a WATCHDOG_USEC that is no number.
func Watchdog(ctx context.Context, healthy func() error) error {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	if every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		if err := healthy(); err != nil {
			status.setTrouble("stuck, to be restarted: " + err.Error())
		} else {
			status.setTrouble("")
			notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Liveness is how loops prove that they turn: each says when it will speak
// again at the latest. The zero Liveness is ready and healthy.
type Liveness struct {
	mu    sync.Mutex
	loops map[string]promise
}

type promise struct {
	made   time.Time
	within time.Duration
}

// Alive notes a sign of life of the loop called name, and its promise to give
// the next one within that time. It counts on the monotonic clock, as timers
// do: neither a step of the clock nor a suspend makes a loop late.
func (l *Liveness) Alive(name string, within time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loops == nil {
		l.loops = make(map[string]promise)
	}
	l.loops[name] = promise{time.Now(), within}
}

// Rest takes the loop called name off the watch until it is Alive again. It is
// for loops that have ended, and for waits that may rightly last for ever.
func (l *Liveness) Rest(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.loops, name)
}

// Err is nil while all promises are kept; otherwise it names the loops that
// broke theirs.
func (l *Liveness) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	var late []string
	for name, p := range l.loops {
		if silent := now.Sub(p.made); silent > p.within {
			late = append(late, fmt.Sprintf("%s silent for %v (promised within %v)", name, silent.Round(time.Second), p.within))
		}
	}
	if late == nil {
		return nil
	}
	slices.Sort(late)
	return fmt.Errorf("%s", strings.Join(late, "; "))
}
