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
