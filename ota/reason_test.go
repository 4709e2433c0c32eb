package ota

import (
	"strings"
	"testing"
	"time"
)

// TestEveryPhaseHasItsReason so that no two phases read alike, but for the two
// of the fetch.
func TestEveryPhaseHasItsReason(t *testing.T) {
	said := map[string]Phase{}
	for p := range numPhases {
		s := ModuleStatus{Module: "app", Policy: Install, Phase: p, Installed: "1.0", LastCheck: time.Now()}
		if p != Idle {
			s.Offered = &Release{Version: "1.1"}
			s.Held = s.Offered
		}
		reason := s.reason()
		if p != Idle && !strings.Contains(reason, "1.1") || strings.Contains(reason, "%!") {
			t.Errorf("%v: %q", p, reason)
		}
		alike := p == Downloading && said[reason] == Selected || p == RollbackReboot && said[reason] == RollingBack
		if before, is := said[reason]; is && !alike {
			t.Errorf("%v and %v read alike: %s", before, p, reason)
		}
		said[reason] = p
	}
}
