package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

// TestFleetAfterAnOutage has every device's window open within an outage of an
// hour: all have been provisioned in the same second, which is the worst. It
// also has them renew without an outage, and boot at the same second with
// clocks that nobody trusts.
func TestFleetAfterAnOutage(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to time.Duration // the outage
		blind    bool
	}{
		{"after an outage of an hour", opens - 30*time.Minute, opens + 30*time.Minute, false},
		{"renewal without an outage", 0, 0, false},
		{"power back everywhere at once", 0, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud(7 * 24 * time.Hour)
				start := time.Now()
				keepers, stop := startFleet(t, c, tt.blind)
				c.mu.Lock()
				c.fault = func(int) error {
					if d := time.Since(start); d >= tt.from && d < tt.to {
						return errors.New("no route to host")
					}
					return nil
				}
				c.mu.Unlock()
				time.Sleep(opens + 2*time.Hour)
				late, last := 0, time.Time{}
				for _, k := range keepers {
					s, _ := k.Status()
					if s.Renewals != 1 || !c.usable(s.Token) {
						late++
					}
					last = later(last, s.LastRenewal)
				}
				stop()
				peak, at := peakRate(c.calls, start.Add(tt.to))
				t.Logf("%d devices: at most %d logins in a second (%.2f %%), %v after the start; the last renewal %v after the window opened; %d logins in all",
					fleet, peak, 100*float64(peak)/fleet, at.Sub(start), last.Sub(start.Add(opens)), len(c.calls))
				if late > 0 || peak > fleet*2/100 {
					t.Errorf("%d devices not renewed, %d logins in a second", late, peak)
				}
			})
		})
	}
}

// opens is when the windows of the fleet open, after the start.
const opens = time.Hour

// issued makes the n-th token as of a week before its expiry.
func (c *cloud) issued(expires time.Time, n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	raw := jwt(fmt.Sprintf(`{"deviceId":%d,"iat":%d,"exp":%d}`, n+1, expires.Add(-7*24*time.Hour).Unix(), expires.Unix()), n)
	c.expires[raw] = expires
	return raw
}

func startFleet(t *testing.T, c *cloud, blind bool) (keepers []*Keeper, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for n := range fleet {
		rng := rand.New(rand.NewPCG(1, uint64(n)))
		var mu sync.Mutex
		heard := !blind
		k := &Keeper{
			WriteBack: func(Token) error { return nil },
			Store:     &Store{Dir: "cred", FS: powercut.New()}, Names: DefaultNames, Schedule: DefaultSchedule,
			Rand: rng.Float64, Log: slog.New(slog.DiscardHandler),
			Known: func() bool { mu.Lock(); defer mu.Unlock(); return heard },
		}
		k.Login = func(ctx context.Context, tok Token) (string, error) {
			raw, err := c.login(ctx, tok)
			mu.Lock()
			defer mu.Unlock()
			heard = heard || err == nil
			return raw, err
		}
		k.Offer(c.issued(time.Now().Add(opens+12*time.Hour), n), nil)
		keepers = append(keepers, k)
		running.Go(func() {
			if err := k.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return keepers, func() { cancel(); running.Wait() }
}

// peakRate is the most calls in any second from since on.
func peakRate(calls []time.Time, since time.Time) (peak int, at time.Time) {
	first := 0
	for i, call := range calls {
		for calls[first].Before(call.Add(-time.Second)) || calls[first].Before(since) && first < i {
			first++
		}
		if n := i - first + 1; !call.Before(since) && n > peak {
			peak, at = n, call
		}
	}
	return peak, at
}

func TestPeakRate(t *testing.T) {
	var calls []time.Time
	for _, ms := range []int{0, 10, 900, 1500, 1600, 1700, 1800, 4000} {
		calls = append(calls, t0.Add(time.Duration(ms)*time.Millisecond))
	}
	for since, want := range map[time.Duration]int{0: 5, 1550 * time.Millisecond: 3, 2 * time.Second: 1, time.Minute: 0} {
		if got, _ := peakRate(calls, t0.Add(since)); got != want {
			t.Errorf("since %v: got %d, want %d", since, got, want)
		}
	}
}
