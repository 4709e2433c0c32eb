package account

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

func TestTwoThousandFailuresThenSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		raw := c.issue()
		r := newRig(t, c, t.TempDir(), raw)
		c.mu.Lock()
		c.fault = func(n int) error {
			if n <= 2000 {
				return errors.New("no route to host")
			}
			c.expires[raw] = time.Now() // a merciful cloud
			return nil
		}
		c.mu.Unlock()
		for c.count() <= 2000 {
			time.Sleep(24 * time.Hour)
			select {
			case err := <-r.done:
				t.Fatalf("ended after %d failures: %v", c.count(), err)
			default:
			}
		}
		r.stop()
		var mean, variance float64
		for i := 1; i <= 2000; i++ {
			gap := c.calls[i].Sub(c.calls[i-1])
			if gap < time.Second {
				t.Fatalf("attempts %d and %d are %v apart", i, i+1, gap)
			}
			if i > 1000 {
				mean += gap.Seconds() / 1000
			}
		}
		for i := 1001; i <= 2000; i++ {
			d := c.calls[i].Sub(c.calls[i-1]).Seconds() - mean
			variance += d * d / 1000
		}
		if s, _ := r.Status(); variance < 1 || s.Failures != 0 || s.Renewals != 1 {
			t.Errorf("variance of the gaps at the cap %.1f s², status %+v", variance, s)
		}
		t.Logf("gaps at the cap: mean %.0f s, variance %.0f s²", mean, variance)
	})
}

// TestWarnedOnTheWayToThePointOfNoReturn: once at each of 50, 80 and 95 %.
func TestWarnedOnTheWayToThePointOfNoReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		c.fault = func(int) error { return errors.New("no route to host") }
		var out bytes.Buffer
		k := &Keeper{
			Login: c.login, WriteBack: func(Token) error { return nil },
			Store: &Store{Dir: "cred", FS: powercut.New()}, Names: DefaultNames, Schedule: DefaultSchedule,
			Log: slog.New(slog.NewTextHandler(&out, nil)),
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		k.Offer(c.issue(), nil)
		go func() { done <- k.Run(ctx) }()
		opens := time.Now().Add(7*24*time.Hour - 12*time.Hour)
		for _, want := range []float64{0, 0.25, 0.75, 0.90, 1} {
			time.Sleep(time.Until(opens.Add(time.Duration(want * float64(24*time.Hour)))))
			time.Sleep(Recheck)
			if s, _ := k.Status(); s.Spent < want || s.Spent > want+0.01 {
				t.Errorf("spent %.3f, want %.2f", s.Spent, want)
			}
		}
		time.Sleep(48 * time.Hour)
		cancel()
		<-done
		log := out.String()
		for _, want := range []string{"spent=50%", "spent=80%", "spent=95%"} {
			if strings.Count(log, want) != 1 {
				t.Errorf("%s: said %d times", want, strings.Count(log, want))
			}
		}
		if n := strings.Count(log, "level=ERROR msg=\"the token is close"); n != 1 {
			t.Errorf("%d errors, want the last warning alone", n)
		}
	})
}

func TestNudgeTriesAgainAtMostEveryFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		synctest.Wait()
		r.Nudge()
		time.Sleep(time.Minute)
		if c.count() != 0 {
			t.Fatal("asked although nothing was failing")
		}
		c.mu.Lock()
		c.fault = func(int) error { return errors.New("no route to host") }
		c.mu.Unlock()
		time.Sleep(7*24*time.Hour - 6*time.Hour) // failing for hours: the waits are minutes
		before := c.count()
		for range 60 {
			r.Nudge()
			time.Sleep(time.Second)
		}
		if n := c.count() - before; n < 10 || n > 13 {
			t.Errorf("%d attempts in a minute of nudges, want one each 5 s", n)
		}
		c.mu.Lock()
		c.fault = nil
		c.mu.Unlock()
		r.Nudge()
		time.Sleep(6 * time.Second)
		if s, _ := r.Status(); s.Renewals != 1 {
			t.Errorf("6 s after the network is back: %s", s.Reason)
		}
		r.stop()
	})
}

// TestYearLeavesNothingBehind runs a keeper on a real disk for a year of hourly
// outages.
func TestYearLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		c.fault = func(int) error {
			if time.Now().Hour()%2 == 0 {
				return errors.New("no route to host")
			}
			return nil
		}
		r := newRig(t, c, t.TempDir(), c.issue())
		use := func() (goroutines, files int, heap uint64) {
			synctest.Wait()
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			fds, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				t.Fatal(err)
			}
			return runtime.NumGoroutine(), len(fds), m.HeapAlloc
		}
		time.Sleep(30 * 24 * time.Hour)
		goroutines, files, heap := use()
		time.Sleep(335 * 24 * time.Hour)
		goroutines2, files2, heap2 := use()
		if goroutines2 > goroutines || files2 > files || heap2 > heap+1<<20 {
			t.Errorf("after a month %d goroutines, %d files, %d bytes; after a year %d, %d, %d", goroutines, files, heap, goroutines2, files2, heap2)
		}
		t.Logf("after a month %d goroutines, %d files, %d KiB; after a year %d, %d, %d", goroutines, files, heap>>10, goroutines2, files2, heap2>>10)
		if s, _ := r.Status(); s.Renewals < 50 || !c.usable(s.Token) {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}
