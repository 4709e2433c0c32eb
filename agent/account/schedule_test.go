package account

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

var t0 = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func token(issued, expires time.Time, n int) Token {
	return Token{raw: jwt("{}", n), Claims: Claims{Issued: issued, Expires: expires}}
}

func drawHistory(t *rapid.T, now time.Time) History {
	return History{
		Last:     rapid.SampledFrom([]Outcome{Renewed, StillGood, Unreachable, Limited, Refused}).Draw(t, "last"),
		At:       now.Add(-time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "age"))),
		Failures: rapid.IntRange(0, 3000).Draw(t, "failures"),
		Asked:    time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "asked")),
		Forced:   rapid.Bool().Draw(t, "forced"),
		Jitter:   rapid.Float64Range(0, 0.999999).Draw(t, "jitter"),
	}
}

func TestScheduleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(int64(time.Minute), int64(30*24*time.Hour)).Draw(t, "life"))
		tok := token(t0, t0.Add(life), rapid.IntRange(0, 1<<30).Draw(t, "n"))
		w := DefaultSchedule.Window(tok)
		switch {
		case w.Opens.Before(tok.Issued), w.Opens.After(w.Due), w.Expires.Sub(w.Due) < w.Expires.Sub(w.Opens)/2:
			t.Fatalf("due outside the first half of the window: %+v", w)
		case w.Due.Sub(w.Opens) > DefaultSchedule.Spread:
			t.Fatalf("due later than the spread: %+v", w)
		}
		now := t0.Add(time.Duration(rapid.Int64Range(0, int64(2*life)).Draw(t, "now")))
		h := drawHistory(t, now)
		next := DefaultSchedule.Next(now, w, h)
		since := h.At
		if !h.Forced { // an attempt before the window opened says nothing of how long is waited in it
			since = later(h.At, w.Due)
		}
		switch {
		case next.Before(h.At.Add(minGap)):
			t.Fatalf("%v after the last attempt", next.Sub(h.At))
		case !h.Forced && next.Before(w.Due):
			t.Fatalf("asks before it is due")
		case (h.Forced || now.After(w.Due)) && next.Sub(since) > maxAsked+firstBackoff && h.Last != Renewed && h.Last != StillGood:
			t.Fatalf("waits %v", next.Sub(since))
		}
	})
}

func TestEffortRisesTowardsThePointOfNoReturn(t *testing.T) {
	tok := token(t0, t0.Add(7*24*time.Hour), 1)
	w := DefaultSchedule.Window(tok)
	wait := func(left time.Duration) time.Duration {
		now := w.Closes.Add(-left)
		return DefaultSchedule.Next(now, w, History{Last: Unreachable, At: now, Failures: 2000, Jitter: 0.5}).Sub(now)
	}
	if far, near, after := wait(20*time.Hour), wait(time.Minute), wait(-time.Hour); !(near < far && far <= maxBackoff && near <= 6*time.Second && after > far/2) {
		t.Fatalf("20 h before: %v, a minute before: %v, an hour after: %v", far, near, after)
	}
}

func TestJitterSurvivesTheCap(t *testing.T) {
	seen := map[time.Duration]bool{}
	for i := range 100 {
		h := History{Last: Unreachable, At: t0, Failures: 2000, Jitter: float64(i) / 100}
		seen[DefaultSchedule.Next(t0, Window{}, h).Sub(t0)] = true
	}
	if len(seen) < 90 {
		t.Fatalf("%d different waits of 100 at the cap", len(seen))
	}
}

func TestOutcomesHaveTheirOwnWaits(t *testing.T) {
	tok := token(t0, t0.Add(7*24*time.Hour), 1)
	w := DefaultSchedule.Window(tok)
	for _, tt := range []struct {
		name     string
		h        History
		min, max time.Duration
	}{
		{"first failure", History{Last: Unreachable, Failures: 1}, 7 * time.Second, 15 * time.Second},
		{"many failures", History{Last: Unreachable, Failures: 50}, 150 * time.Second, 5 * time.Minute},
		{"429 with Retry-After", History{Last: Limited, Failures: 1, Asked: 90 * time.Second}, 90 * time.Second, 105 * time.Second},
		{"429 with an absurd Retry-After", History{Last: Limited, Failures: 1, Asked: 1e6 * time.Hour}, 4 * time.Hour, 17*time.Hour/4 + 15*time.Second},
		{"429 without", History{Last: Limited, Failures: 1}, 7 * time.Second, 15 * time.Second},
		{"refusal", History{Last: Refused, Failures: 1}, 150 * time.Second, 5 * time.Minute},
		{"many refusals", History{Last: Refused, Failures: 50}, 150 * time.Second, 5 * time.Minute},
		{"still good", History{Last: StillGood}, 5 * time.Minute, 5 * time.Minute},
		{"refused by the API after a renewal", History{Last: Renewed, Forced: true}, time.Minute, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := w.Opens.Add(7 * time.Hour)
			tt.h.At = now
			for _, u := range []float64{0, 0.5, 0.99} {
				tt.h.Jitter = u
				if got := DefaultSchedule.Next(now, w, tt.h).Sub(now); got < tt.min || got > tt.max {
					t.Errorf("got %v, want %v to %v", got, tt.min, tt.max)
				}
			}
		})
	}
}

// TestWaitsOutsideTheWindow: nothing is lost there by waiting long.
func TestWaitsOutsideTheWindow(t *testing.T) {
	w := DefaultSchedule.Window(token(t0, t0.Add(7*24*time.Hour), 1))
	for _, tt := range []struct {
		name     string
		h        History
		min, max time.Duration
	}{
		{"many failures", History{Last: Unreachable, Failures: 50}, 7 * time.Minute, 15 * time.Minute},
		{"429 with an absurd Retry-After", History{Last: Limited, Failures: 1, Asked: 1e6 * time.Hour}, 6 * time.Hour, 6*time.Hour + 15*time.Second},
		{"refusal", History{Last: Refused, Failures: 1}, 15 * time.Minute, 23 * time.Minute},
		{"many refusals", History{Last: Refused, Failures: 50}, 4 * time.Hour, 6 * time.Hour},
	} {
		for _, now := range []time.Time{w.Opens.Add(-48 * time.Hour), w.Closes.Add(48 * time.Hour)} {
			tt.h.At, tt.h.Forced = now, true
			for _, u := range []float64{0, 0.5, 0.99} {
				tt.h.Jitter = u
				if got := DefaultSchedule.Next(now, w, tt.h).Sub(now); got < tt.min || got > tt.max {
					t.Errorf("%s: got %v, want %v to %v", tt.name, got, tt.min, tt.max)
				}
			}
		}
	}
}

// TestWaitFromBeforeTheWindowEndsWithIt: six hours after a refusal may be too
// late.
func TestWaitFromBeforeTheWindowEndsWithIt(t *testing.T) {
	w := DefaultSchedule.Window(token(t0, t0.Add(7*24*time.Hour), 1))
	now := w.Due.Add(-time.Minute)
	if got := DefaultSchedule.Next(now, w, History{Last: Refused, Failures: 50, At: now}); !got.Equal(w.Due) {
		t.Errorf("waits until %v, due is %v", got, w.Due)
	}
}

func TestDrawIsSpreadAndStable(t *testing.T) {
	var sum float64
	for i := range 1000 {
		tok := token(t0, t0, i)
		u := tok.Draw()
		if u < 0 || u >= 1 || u != tok.Draw() {
			t.Fatalf("draw %v", u)
		}
		sum += u
	}
	if sum < 450 || sum > 550 {
		t.Errorf("mean of 1000 draws: %v", sum/1000)
	}
}
