package account

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A tally sums up simulated years.
type tally struct {
	logins, tokens, boots, lost, avoidable atomic.Int64

	mu      sync.Mutex
	reports []string
}

func (s *tally) report(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, fmt.Sprintf(format, args...))
}

// story is what one needs to know of a lock-out.
func (d *device) story(best string) string {
	s, _ := d.keeper.Status()
	state, r := d.clock.State()
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	exp := d.tokens[best].expires
	fmt.Fprintf(&b, "seed %d, boot %d, %v: locked out, which was avoidable: %s (%s)\n", d.seed, d.boots, d.now().Format(time.DateTime), s.State, s.Reason)
	fmt.Fprintf(&b, "the last good token, sig%04d, could be renewed from %v to %v, when the cloud could be reached\n", slices.Index(d.given, best)+1, exp.Add(-margin).Format(time.DateTime), exp.Add(margin).Format(time.DateTime))
	for _, s := range d.spans {
		if s.to.After(exp.Add(-margin)) && s.from.Before(exp.Add(margin)) {
			fmt.Fprintf(&b, "  from %v to %v\n", s.from.Format(time.DateTime), s.to.Format(time.DateTime))
		}
	}
	fmt.Fprintf(&b, "the device takes it to be %v, its system clock shows %v, learned %v; attempts %d, failures %d, at %v, identity file %q; other program %v\n%v",
		state.Now(r), r.Wall, state.Learned(r), s.Attempts, s.Failures, s.LastAttempt, s.FileError, d.mrs, d.disk)
	return b.String()
}

func runYears(t *testing.T, first uint64, devices, days int, omit string) *tally {
	sum, start := new(tally), time.Now()
	var done atomic.Int64
	t.Run("devices", func(t *testing.T) {
		for lane := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				for n := done.Add(1); n <= int64(devices); n = done.Add(1) {
					year(t, first+uint64(n-1), days, omit, sum)
				}
			})
		}
	})
	t.Logf("seeds %d to %d, %s taken out: %d device-days, %d boots, %d logins, %d tokens, %d lock-outs, %d of them avoidable, in %v",
		first, first+uint64(devices)-1, cmp.Or(omit, "nothing"), devices*days, sum.boots.Load(), sum.logins.Load(), sum.tokens.Load(), sum.lost.Load(), sum.avoidable.Load(), time.Since(start).Round(time.Millisecond))
	return sum
}

// firstSeed is 1, or SEED from the environment.
func firstSeed() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil && n > 0 {
		return n
	}
	return 1
}

// TestYear is a year of 1,000 devices with the build tag long and of 200
// otherwise, or two months of 20 under the race detector. SEED=n go test -run TestYear has other devices.
func TestYear(t *testing.T) {
	sum := runYears(t, firstSeed(), yearDevices, yearDays, "")
	for _, r := range sum.reports[:min(5, len(sum.reports))] {
		t.Error(r)
	}
	if sum.avoidable.Load() > 0 || sum.tokens.Load() < int64(yearDevices*yearDays/14) {
		t.Errorf("%d avoidable lock-outs, %d tokens", sum.avoidable.Load(), sum.tokens.Load())
	}
}

// TestYearMissesWhatIsTakenOut proves that the simulation can fail, by the first
// devices of which some are locked out.
func TestYearMissesWhatIsTakenOut(t *testing.T) {
	for omit, devices := range map[string]int{"two slots": 12, "floor": 3, "offset": 17} {
		if sum := runYears(t, 1, devices, 60, omit); sum.avoidable.Load() == 0 {
			t.Errorf("without the %s no lock-out could have been avoided", omit)
		}
	}
}
