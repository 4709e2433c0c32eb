package ota

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
)

// TestHookTellsWhatItNeeds before anything is fetched: the room beside the
// payload, and what a person should know.
func TestHookTellsWhatItNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Fetch)
		d.info = map[string]string{"api": "1", "extra_bytes": "1000000000", "reboot": "always", "rollback": "no"}
		g.cloud.put(file("7", "1.1"), contents(7))
		g.disk.free = 1_000_000_000
		g.start()
		defer func() { g.end() }()
		s := g.until("waiting for room", func(s ModuleStatus) bool { return strings.Contains(s.LastError, "not enough space") })
		if s.Phase != Downloading || d.did() != "info" || g.cloud.opens != 0 {
			t.Errorf("called %s, asked the server %d times: %+v", d.did(), g.cloud.opens, s)
		}
		g.disk.mu.Lock()
		g.disk.free = 2_000_000_000
		g.disk.mu.Unlock()
		s = g.until("ready", in(Ready))
		if !strings.HasSuffix(s.Reason, "; the device reboots for it; it cannot be undone") {
			t.Errorf("got %s", s.Reason)
		}
		d.set(func() { d.info = map[string]string{"api": "2"} })
		g.restart()
		if err := g.m.Install(t.Context(), "app", true); err != nil {
			t.Fatal(err)
		}
		g.until("asked again", func(s ModuleStatus) bool {
			return s.Waits == "the hook speaks version 2 of the contract, and this agent 1"
		})
		time.Sleep(time.Hour)
		if got := d.did(); got != "info check info" {
			t.Errorf("called %s", got)
		}
	})
}

// TestHookThatIsSilentBeforeTheFetch is asked again before the installation.
func TestHookThatIsSilentBeforeTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Install)
		d.absent.Store(true)
		g.cloud.put(file("7", "1.1"), contents(7))
		g.start()
		defer func() { g.end() }()
		g.ready("7")
		time.Sleep(time.Hour)
		if s := g.status(); s.Phase != Ready || d.did() != "" {
			t.Errorf("called %s: %+v", d.did(), s)
		}
		d.absent.Store(false)
		g.until("over", outcomeIs("COMMITTED"))
		if got, want := d.did(), "info check probe install verify probe commit cleanup"; got != want {
			t.Errorf("called %s, want %s", got, want)
		}
	})
}

// TestHookThatCannotGoBackIsNotAskedTo; a person must.
func TestHookThatCannotGoBackIsNotAskedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Install)
		d.sick, d.info = true, map[string]string{"rollback": "no"}
		g.cloud.put(file("7", "1.1"), contents(7))
		g.start()
		defer func() { g.end() }()
		g.until("broken", in(Broken))
		if got := d.did(); strings.Contains(got, "rollback") {
			t.Errorf("called %s", got)
		}
		g.cloud.set(func() { g.installed = "1.0" }) // by hand
		g.restart()
		g.until("over", outcomeIs("1.1 FAILED: the hook does not find the new version healthy"))
	})
}

// TestCheckThatFailsOddly is repeated once; one that has to wait is not counted.
func TestCheckThatFailsOddly(t *testing.T) {
	for _, test := range []struct {
		answers []Code
		want    string
		checks  int
	}{
		{[]Code{HookRetry}, "COMMITTED", 2},
		{[]Code{99}, "COMMITTED", 2},
		{[]Code{HookRetry, HookRetry}, "FAILED: the hook refuses it (REJECT): said by check", 2},
		{[]Code{-1, 64}, "FAILED: the hook refuses it (REJECT): said by check", 2}, // a signal; no such verb
		{[]Code{HookLater, HookRetry, HookLater, HookLater}, "COMMITTED", 5},
		{[]Code{HookLater, HookRetry, HookLater, HookRetry}, "FAILED: the hook refuses it (REJECT)", 4},
	} {
		for _, restart := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				g, d := installing(t, Install)
				d.first = map[Verb][]Code{HookCheck: slices.Clone(test.answers)}
				g.cloud.put(file("7", "1.1"), contents(7))
				g.start()
				defer func() { g.end() }()
				if restart { // between two checks
					g.until("checked", func(s ModuleStatus) bool { return s.Phase == Verified || s.Phase == Ready })
					time.Sleep(askAgain / 2)
					g.restart()
				}
				g.until("over", outcomeIs(test.want))
				time.Sleep(12 * time.Hour)
				if n := strings.Count(d.did(), "check"); n < test.checks || !restart && n != test.checks {
					t.Errorf("%v: %d checks, want %d: %s", test.answers, n, test.checks, d.did())
				}
			})
		}
	}
}

// TestHookOutlivesTheAgent: whoever starts while a hook runs waits for it, and
// never starts another.
func TestHookOutlivesTheAgent(t *testing.T) {
	for _, test := range []struct {
		name string
		code Code
		want string
		did  string // from the restart on
	}{
		{"and installs", HookOK, "COMMITTED", "probe verify probe commit cleanup"},
		{"and refuses", HookReject, "FAILED: the hook refuses it (REJECT): said by install", "probe cleanup"},
		{"and changes nothing", HookUnchanged, "COMMITTED", "probe info check probe install verify probe commit cleanup"},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, d := installing(t, Install)
			d.hold, d.first = time.Hour, map[Verb][]Code{HookInstall: {test.code}}
			g.cloud.put(file("7", "1.1"), contents(7))
			g.start()
			defer func() { g.end() }()
			g.until("installing", in(Installing))
			time.Sleep(20 * time.Minute)
			before := d.did()
			g.restart()
			g.restart()
			g.disk = g.disk.kill()
			g.restart()
			time.Sleep(20 * time.Minute)
			if s := g.status(); s.Phase != Installing || d.did() != before {
				t.Errorf("%s: while it runs: called %s: %+v", test.name, d.did(), s)
			}
			d.set(func() { d.hold = 0 })
			g.until("over", outcomeIs(test.want))
			time.Sleep(time.Second)
			if got := strings.TrimPrefix(d.did(), before+" "); got != test.did || d.most != 1 {
				t.Errorf("%s: then called %s, want %s; %d at once", test.name, got, test.did, d.most)
			}
		})
	}
}

// TestInstallationThatTheHookDidNotWaitFor is waited for by asking.
func TestInstallationThatTheHookDidNotWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Install)
		running := slices.Repeat([]Code{HookRunning}, 40)
		d.first = map[Verb][]Code{HookProbe: append([]Code{HookPrevious}, running...), HookInstall: {HookRetry}}
		g.cloud.put(file("7", "1.1"), contents(7))
		g.start()
		defer func() { g.end() }()
		g.until("installing", in(Installing))
		begin := time.Now()
		time.Sleep(2 * time.Minute)
		g.restart()
		time.Sleep(2 * time.Minute)
		if s := g.status(); s.Phase != Installing || strings.Count(d.did(), "install") != 1 {
			t.Errorf("called %s: %+v", d.did(), s)
		}
		g.cloud.set(func() { g.installed = "1.1" }) // what runs comes to its end
		g.until("on probation", in(Verifying))
		if took := time.Since(begin); took < 38*probeAgain {
			t.Errorf("it was over after %v", took)
		}
		g.until("over", outcomeIs("COMMITTED"))
		if n := strings.Count(d.did(), "install"); n != 1 {
			t.Errorf("installed %d times", n)
		}
	})
}

// TestNewSettingsOnProbation are no new start of the agent.
func TestNewSettingsOnProbation(t *testing.T) {
	for _, reload := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			g, d := installing(t, Install)
			change, starts := g.change, 0
			g.change = func(m *Manager) {
				change(m)
				if starts++; !reload {
					m.Proof.process += strings.Repeat("+", starts)
				}
			}
			g.cloud.put(file("7", "1.1"), contents(7))
			g.start()
			defer func() { g.end() }()
			g.until("on probation", in(Verifying))
			for range 2 * maxVerifies {
				time.Sleep(proveSettle / 2)
				g.restart()
			}
			if !reload {
				g.until("over", outcomeIs("FAILED: not proven in 3 starts"))
				return
			}
			if s := g.status(); s.Phase != Verifying || strings.Contains(d.did(), "commit") {
				t.Errorf("called %s: %+v", d.did(), s)
			}
			begin := time.Now()
			g.until("over", outcomeIs("COMMITTED"))
			if took := time.Since(begin); took < proveSettle {
				t.Errorf("kept after %v: the new settings were not proven", took)
			}
		})
	}
}

// TestUpdateIgnoresTheWallClock sets it by decades in every state: each update
// ends as it does, and when it does, with a clock that goes right.
func TestUpdateIgnoresTheWallClock(t *testing.T) {
	type ending struct {
		outcome string
		took    time.Duration // of boot time
	}
	update := func(t *testing.T, at Phase, jump time.Duration, good bool) (e ending, seen bool) {
		synctest.Test(t, func(t *testing.T) {
			g, d := installing(t, Install)
			off := time.Duration(0)
			change, begin := g.change, time.Now()
			wall := func() (now time.Time) { g.cloud.set(func() { now = time.Now().Add(off) }); return now }
			g.change = func(m *Manager) {
				change(m)
				m.Proof.Clock = func() clock.Reading {
					return clock.Reading{Wall: wall(), Boot: time.Since(begin), BootID: "boot"}
				}
				m.Rules.Time = func() (time.Time, bool) { return wall(), true }
				m.Monthly = 1 << 30
				if !good {
					m.Proof.Online = func() bool { return false }
				}
			}
			d.info = map[string]string{"api": "1"}
			d.hold, d.first = time.Minute, map[Verb][]Code{HookCheck: {HookRetry}, HookCommit: {HookRetry}, HookRollback: {HookRetry}}
			g.cloud.pace = time.Second
			g.cloud.put(file("7", "1.1"), contents(7))
			g.start()
			defer func() { g.end() }()
			for e.outcome == "" {
				list, changed := g.m.Status()
				s := list[0]
				if s.Phase == at && !seen {
					seen = true
					g.cloud.set(func() { off = jump })
				}
				if s.Phase == Idle && s.Outcome != "" {
					e = ending{s.Outcome, time.Since(begin)}
					break
				}
				select {
				case <-changed:
				case <-time.After(10 * time.Hour):
					t.Fatalf("at %v by %v: not over: %+v", at, jump, s)
				}
			}
		})
		return e, seen
	}
	for _, good := range []bool{true, false} {
		want, _ := update(t, numPhases, 0, good)
		if good != strings.Contains(want.outcome, "COMMITTED") {
			t.Fatalf("with a clock that goes right: %s", want.outcome)
		}
		jumped := map[Phase]bool{}
		const year = 365 * 24 * time.Hour
		for at := range numPhases {
			for _, jump := range []time.Duration{-30 * year, -10 * year, -time.Hour, 10 * year, 99 * year} {
				got, seen := update(t, at, jump, good)
				if got != want {
					t.Errorf("%v, by %v: %s after %v, want %s after %v", at, jump, got.outcome, got.took, want.outcome, want.took)
				}
				jumped[at] = jumped[at] || seen
			}
		}
		for _, at := range []Phase{Idle, Downloading, Verified, Verifying, map[bool]Phase{true: Committing, false: RollingBack}[good]} {
			if !jumped[at] {
				t.Errorf("never jumped in %v", at)
			}
		}
	}
}
