package ota

import (
	"fmt"
	"slices"
)

// A Phase is where the update of a module stands. It is on disk before the work
// that it names begins, so that after a power cut the device knows what it may
// have been doing.
type Phase uint8

// The phases. Only their names are ever on disk, so their order may change.
const (
	Idle           Phase = iota // no transaction
	Selected                    // the intent is durable
	Downloading                 // the part is growing
	Verified                    // the payload is complete and its digest recorded
	Ready                       // the payload waits to be installed
	Installing                  // the installer may be running
	Rebooting                   // a reboot into the new version has been asked for
	Verifying                   // the new version runs on probation
	Committing                  // the new version is being made permanent
	Committed                   // the outcome is certain: the new version
	RollingBack                 // the installer may be going back
	RollbackReboot              // a reboot into the previous version has been asked for
	Failed                      // the outcome is certain: the previous version
	Withdrawn                   // the server took the release back, or it is not wanted any more
	Broken                      // rolling back has failed: a person must act
	numPhases
)

// phases is the whole machine: the name of each phase and the phases that may
// follow it.
var phases = [numPhases]struct {
	name string
	next []Phase
}{
	Idle:           {"IDLE", []Phase{Selected}},
	Selected:       {"SELECTED", []Phase{Downloading, Withdrawn}},
	Downloading:    {"DOWNLOADING", []Phase{Verified, Withdrawn, Failed}},
	Verified:       {"VERIFIED", []Phase{Ready, Failed}},
	Ready:          {"READY", []Phase{Installing, Withdrawn, Failed}},
	Installing:     {"INSTALLING", []Phase{Rebooting, Verifying, Ready, Failed, RollingBack}},
	Rebooting:      {"REBOOTING", []Phase{Verifying, RollingBack}},
	Verifying:      {"VERIFYING", []Phase{Committing, RollingBack}},
	Committing:     {"COMMITTING", []Phase{Committed, RollingBack}},
	Committed:      {"COMMITTED", []Phase{Idle}},
	RollingBack:    {"ROLLING_BACK", []Phase{RollbackReboot, Failed, Broken}},
	RollbackReboot: {"ROLLBACK_REBOOT", []Phase{Failed, RollingBack}},
	Failed:         {"FAILED", []Phase{Idle}},
	Withdrawn:      {"WITHDRAWN", []Phase{Idle}},
	Broken:         {"BROKEN", []Phase{Failed}},
}

// MayBecome reports whether q may follow p.
func (p Phase) MayBecome(q Phase) bool {
	return p < numPhases && slices.Contains(phases[p].next, q)
}

// Installs reports whether p is a phase in which a hook may change the system,
// or has and is not done.
func (p Phase) Installs() bool {
	switch p {
	case Installing, Rebooting, Verifying, Committing, RollingBack, RollbackReboot:
		return true
	}
	return false
}

// String returns the name that stands on disk.
func (p Phase) String() string {
	if p < numPhases {
		return phases[p].name
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

// MarshalText implements encoding.TextMarshaler.
func (p Phase) MarshalText() ([]byte, error) {
	if p >= numPhases {
		return nil, fmt.Errorf("phase %d: unknown", uint8(p))
	}
	return []byte(p.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Phase) UnmarshalText(b []byte) error {
	for q := range numPhases {
		if phases[q].name == string(b) {
			*p = q
			return nil
		}
	}
	return fmt.Errorf("phase %s: unknown", quote(string(b)))
}
