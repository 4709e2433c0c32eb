package mqtt

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

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
