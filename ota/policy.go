package ota

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
)

// Rules say when updates are installed. The zero Rules allow it at any time.
type Rules struct {
	Window Window
	// Inhibited tells what keeps updates back now, "" for nothing. It may be nil.
	Inhibited func(ctx context.Context) string
	// Time is the cloud's time in the zone of the window, and whether it is
	// known. Nil: the system's clock.
	Time func() (time.Time, bool)
}

// Proof says when a new version may stay. The zero Proof wants the word of its
// hook alone.
type Proof struct {
	Within  time.Duration // of boot time; 30 min if 0
	Settle  time.Duration // without a restart once it works; 5 min if 0
	Offline OfflinePolicy // OfflineWait if empty
	// Online reports whether the MQTT session is up; nil: it does not matter.
	Online func() bool
	// Clock reads the system's clocks; clock.Read if nil.
	Clock func() clock.Reading

	process string // names this one, if empty
}

const (
	proveWithin = 30 * time.Minute
	proveSettle = 5 * time.Minute
	proveEvery  = 20 * time.Second
	proveAsk    = 2 * time.Minute // for one answer of the cloud
)

// A leave is all that says whether an update may be installed now, but for what
// other modules do.
type leave struct {
	policy    Policy
	approved  approval
	window    Window
	now       time.Time // zero: unknown
	early     time.Duration
	installer bool
	foreign   string // what is wrong with the hook
}

// granted decides, and says why not.
func (l leave) granted() (bool, string) {
	switch {
	case l.policy != Install && l.approved == "":
		return false, fmt.Sprintf("policy %s waits for a person's word: ota install", l.policy)
	case !l.installer:
		return false, ErrNoInstaller.Error() + " is set up on this device"
	case l.foreign != "":
		return false, l.foreign
	case l.early > 0:
		return false, fmt.Sprintf("the hook asked to wait another %v", l.early.Round(time.Second))
	case l.approved == approvedNow || l.window.Always():
		return true, ""
	case l.now.IsZero():
		return false, "the window is open at certain times, and the time is not known yet"
	case !l.window.Open(l.now):
		if next, ok := l.window.Next(l.now); ok {
			return false, "the window opens at " + next.Format("Mon 2006-01-02 15:04 MST")
		}
		return false, "the window does not open within two weeks"
	}
	return true, ""
}

// gate is what a new version of the module must pass.
func (m *Manager) gate(module string) gate {
	g := gate{
		within: m.Proof.Within, settle: m.Proof.Settle, every: proveEvery, online: m.Proof.Online,
		boot: func() time.Duration { return m.Proof.Clock().Boot },
		heard: func(err error) bool {
			var status statusError
			return errors.As(err, &status) && status.HTTPStatus() < 500
		},
	}
	if m.Source.List != nil {
		g.api = func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, proveAsk)
			defer cancel()
			_, err := m.Source.List(ctx, module, 1, 0)
			return err
		}
	}
	return g
}

func (m *Manager) moment() moment {
	now := m.Proof.Clock()
	return moment{BootID: now.BootID, Process: m.Proof.process, Wall: now.Wall.UTC(), Offline: m.Proof.Offline}
}

// thisProcess names the process: new settings make a new Manager in the same one.
var thisProcess = sync.OnceValue(crand.Text)

func (p *Proof) init() {
	p.Within, p.Settle = cmp.Or(p.Within, proveWithin), cmp.Or(p.Settle, proveSettle)
	p.Offline = cmp.Or(p.Offline, OfflineWait)
	p.process = cmp.Or(p.process, thisProcess())
	if p.Clock == nil {
		p.Clock = clock.Read
	}
}

// serverTime is the time of the window; zero if unknown.
func (m *Manager) serverTime() time.Time {
	if m.Rules.Time == nil {
		return time.Now()
	}
	if now, known := m.Rules.Time(); known {
		return now
	}
	return time.Time{}
}
