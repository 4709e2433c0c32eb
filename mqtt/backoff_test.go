package mqtt

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBackoffIsCappedFirstAndDrawnThen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attempt := rapid.IntRange(-5, 1<<40).Draw(t, "attempt")
		u, v := rapid.Float64Range(0, 0.999999).Draw(t, "u"), rapid.Float64Range(0, 0.999999).Draw(t, "v")
		most := ladder[min(max(attempt, 1), len(ladder))-1]
		got := Backoff(attempt, u)
		if got < time.Second || got > most {
			t.Errorf("Backoff(%d, %v) = %v, want 1s to %v", attempt, u, got, most)
		}
		if u < v && got > Backoff(attempt, v) || v-u > 0.001 && got == Backoff(attempt, v) {
			t.Errorf("Backoff(%d, …) does not grow from %v to %v", attempt, u, v)
		}
		if next := Backoff(attempt+1, u); next < got {
			t.Errorf("Backoff(%d) = %v, Backoff(%d) = %v", attempt, got, attempt+1, next)
		}
	})
}

func TestBackoffLadder(t *testing.T) {
	for i, seconds := range []int{5, 15, 30, 60, 120, 300, 300, 300} {
		if got, want := Backoff(i+1, 1), time.Duration(seconds)*time.Second; got != want {
			t.Errorf("Backoff(%d, 1) = %v, want %v", i+1, got, want)
		}
		if got := Backoff(i+1, 0); got != time.Second {
			t.Errorf("Backoff(%d, 0) = %v, want 1s", i+1, got)
		}
	}
	if spread := Backoff(100, 0.9) - Backoff(100, 0.1); spread < 4*time.Minute*3/5 {
		t.Errorf("spread at the cap = %v", spread)
	}
}

// Whatever endings come, an attempt follows only after a wait, unless the
// credential is newer or somebody asked; and failures never shorten the wait.
func TestRetriesProperties(t *testing.T) {
	causes := []string{CauseNetwork, CauseRefused, CauseRejected, CauseUnavailable, CauseKicked, CauseSilent, CauseProtocol, CauseCredential, CauseSuperseded, CauseAsked}
	rapid.Check(t, func(t *rapid.T) {
		var r retries
		for range rapid.IntRange(1, 50).Draw(t, "n") {
			e := ending{
				cause: rapid.SampledFrom(causes).Draw(t, "cause"),
				up:    time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "up")),
			}
			before := r
			wait := r.after(e, 0.5)
			switch {
			case e.cause == CauseSuperseded || e.cause == CauseAsked:
				if wait != 0 || r.failures > before.failures {
					t.Errorf("%s: wait %v, %d failures", e.cause, wait, r.failures)
				}
			case wait < time.Second || r.failures < 1:
				t.Errorf("%s: wait %v, %d failures", e.cause, wait, r.failures)
			case before.up+e.up < stable && r.failures != before.failures+1:
				t.Errorf("%s after %v: %d failures, then %d", e.cause, before.up+e.up, before.failures, r.failures)
			case before.up+e.up >= stable && r.failures != 1:
				t.Errorf("%s after a stable session: %d failures", e.cause, r.failures)
			}
		}
	})
}
