package ota

import (
	"encoding/json"
	"strings"
	"testing"
)

// manual is the table of states as the manual has it.
const manual = `
IDLE            SELECTED
SELECTED        DOWNLOADING WITHDRAWN
DOWNLOADING     VERIFIED WITHDRAWN FAILED
VERIFIED        READY FAILED
READY           INSTALLING WITHDRAWN FAILED
INSTALLING      REBOOTING VERIFYING READY FAILED ROLLING_BACK
REBOOTING       VERIFYING ROLLING_BACK
VERIFYING       COMMITTING ROLLING_BACK
COMMITTING      COMMITTED ROLLING_BACK
COMMITTED       IDLE
ROLLING_BACK    ROLLBACK_REBOOT FAILED BROKEN
ROLLBACK_REBOOT FAILED ROLLING_BACK
FAILED          IDLE
WITHDRAWN       IDLE
BROKEN          FAILED`

func TestPhasesFollowTheTable(t *testing.T) {
	allowed := map[string]bool{}
	lines := strings.Split(strings.TrimSpace(manual), "\n")
	if len(lines) != int(numPhases) {
		t.Fatalf("%d phases, want %d", numPhases, len(lines))
	}
	for _, line := range lines {
		words := strings.Fields(line)
		for _, next := range words[1:] {
			allowed[words[0]+" "+next] = true
		}
	}
	for p := range numPhases + 1 {
		for q := range numPhases + 1 {
			if got, want := p.MayBecome(q), allowed[p.String()+" "+q.String()]; got != want {
				t.Errorf("%v may become %v: got %v, want %v", p, q, got, want)
			}
		}
	}
}

func TestEveryPhaseIsReachedAndLeft(t *testing.T) {
	reach := func(from Phase) map[Phase]bool {
		seen := map[Phase]bool{}
		var walk func(Phase)
		walk = func(p Phase) {
			for _, q := range phases[p].next {
				if !seen[q] {
					seen[q] = true
					walk(q)
				}
			}
		}
		walk(from)
		return seen
	}
	for p := range numPhases {
		if !reach(Idle)[p] {
			t.Errorf("%v is unreachable", p)
		}
		if !reach(p)[Idle] {
			t.Errorf("%v is a dead end", p)
		}
		data, err := json.Marshal(p)
		var q Phase
		if err != nil || json.Unmarshal(data, &q) != nil || q != p {
			t.Errorf("%v does not survive the disk: %s, %v", p, data, err)
		}
	}
	var p Phase
	if err := json.Unmarshal([]byte(`"INSTALLED"`), &p); err == nil {
		t.Error("an unknown name is taken for", p)
	}
	if _, err := json.Marshal(numPhases); err == nil {
		t.Error("an unknown phase is written")
	}
}
