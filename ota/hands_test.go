package ota

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
)

// A device is an Installer whose system is one partition: the version that runs
// is the gateway's.
type device struct {
	g       *gateway
	mu      sync.Mutex
	calls   []string
	answer  map[Verb]Code
	sick    bool // verify fails
	hold    time.Duration
	running int
	most    int
	reboots int
	absent  atomic.Bool
	first   map[Verb][]Code          // the answers before those of answer
	info    map[string]string        // what info says
	busy    map[string]chan struct{} // by module: closed when what changes the system ends; it outlives the agent
	last    *Result                  // of the newest install, durably
	modules []string                 // in the order of their installations
}

// Do runs a hook, which goes on when ctx ends.
func (d *device) Do(ctx context.Context, v Verb, t Txn) (Result, error) {
	if d.absent.Load() {
		return Result{}, ErrNoInstaller
	}
	ended := make(chan Result, 1)
	busy := make(chan struct{})
	d.set(func() {
		d.calls = append(d.calls, string(v))
		if v == HookInstall || v == HookCommit || v == HookRollback {
			d.busy[t.Module] = busy
			d.running++
			d.most = max(d.most, d.running)
		}
		if v == HookInstall {
			d.last = nil
			d.modules = append(d.modules, t.Module)
		}
	})
	go func() {
		r := d.run(v, t)
		d.set(func() {
			if d.busy[t.Module] == busy {
				delete(d.busy, t.Module)
				d.running--
			}
			if v == HookInstall {
				d.last = &r
			}
		})
		close(busy)
		ended <- r
	}()
	select {
	case r := <-ended:
		return r, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

func (d *device) run(v Verb, t Txn) Result {
	var code Code
	var hold time.Duration
	var settings map[string]string
	d.set(func() {
		code, hold = d.answer[v], d.hold
		if list := d.first[v]; len(list) > 0 {
			code, d.first[v] = list[0], list[1:]
		}
		if v == HookInfo {
			settings = d.info
		}
	})
	if v == HookInstall && hold > 0 {
		t.Progress(40, "unpacking")
		time.Sleep(hold)
	}
	switch {
	case code != HookOK:
	case v == HookProbe:
		code = HookPrevious
		d.g.cloud.set(func() {
			if d.g.installed == t.To {
				code = HookActive
			}
		})
	case v == HookInstall:
		d.g.cloud.set(func() { d.g.installed = t.To })
	case v == HookRollback:
		d.g.cloud.set(func() { d.g.installed = t.From })
	case v == HookVerify && d.sick:
		code = HookUnchanged
	}
	return Result{Code: code, Text: "said by " + string(v), Settings: settings}
}

func (d *device) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *device) Last(context.Context, Verb, Txn) (r Result, ok bool, err error) {
	d.set(func() {
		if ok = d.last != nil; ok {
			r = *d.last
		}
	})
	return r, ok, nil
}

func (d *device) Running(_ context.Context, t Txn) (busy <-chan struct{}, err error) {
	d.set(func() {
		if c := d.busy[t.Module]; c != nil {
			busy = c
		}
	})
	return busy, nil
}

func (d *device) Reboot(context.Context, Txn) error { d.reboots++; return nil }

func (d *device) did() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.calls, " ")
}

// installing is a gateway that can install, whose clocks are the bubble's.
func installing(t *testing.T, policy Policy) (*gateway, *device) {
	g := newGateway(t, policy)
	d := &device{g: g, answer: map[Verb]Code{}, busy: map[string]chan struct{}{}}
	begin := time.Now()
	g.change = func(m *Manager) {
		m.Installer = d
		m.Proof = Proof{Clock: func() clock.Reading {
			return clock.Reading{Wall: time.Now(), Boot: time.Since(begin), BootID: "boot"}
		}, process: t.Name()}
	}
	return g, d
}

func outcomeIs(text string) func(ModuleStatus) bool {
	return func(s ModuleStatus) bool { return s.Phase == Idle && strings.Contains(s.Outcome, text) }
}

func TestUpdateIsInstalledProvenAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Install)
		reports := 0
		online := false
		change := g.change
		g.change = func(m *Manager) {
			change(m)
			m.Proof.Online = func() (up bool) { g.cloud.set(func() { up = online }); return up }
			m.Report = func(context.Context, string) error {
				if reports++; reports < 3 {
					return errors.New("the broker is away")
				}
				return nil
			}
		}
		g.cloud.put(file("7", "1.1"), contents(7))
		d.hold = time.Minute
		g.start()
		defer func() { g.end() }()
		s := g.until("installing", func(s ModuleStatus) bool { return s.Percent == 40 })
		if s.Phase != Installing || s.Step != "unpacking" || s.Reason != "the hook installs 1.1 (40 % unpacking)" {
			t.Errorf("got %+v", s)
		}
		g.until("on probation", in(Verifying))
		time.Sleep(10 * time.Minute)
		g.cloud.set(func() { online = true })
		up := time.Now()
		s = g.until("over", outcomeIs("1.1 COMMITTED: installed and proven"))
		if waited := time.Since(up); waited < proveSettle || s.Held != nil || len(g.txns()) != 0 {
			t.Errorf("after %v: %+v", waited, s)
		}
		if got, want := d.did(), "info check probe install verify probe commit cleanup"; got != want {
			t.Errorf("called %s, want %s", got, want)
		}
		time.Sleep(10 * time.Minute)
		g.restart()
		time.Sleep(10 * time.Minute)
		if reports != 3 {
			t.Errorf("reported %d times", reports)
		}
	})
}

func TestUpdateThatIsNotWellIsUndone(t *testing.T) {
	tests := []struct {
		name    string
		offline OfflinePolicy
		change  func(*gateway, *device)
		outcome string
		after   time.Duration // at least
		deny    bool
	}{
		{"its hook finds it sick", "", func(_ *gateway, d *device) { d.sick = true }, "FAILED: the hook does not find the new version healthy (UNCHANGED): said by verify", 0, true},
		{"the cloud refuses the token", "", func(g *gateway, _ *device) { g.cloud.listErr = refusal{403, 0} }, "FAILED: the new version does not reach the cloud within 30m0s", proveWithin, true},
		{"no network, rollback", OfflineRollback, func(g *gateway, _ *device) { g.cloud.listErr = errors.New("network is unreachable") }, "FAILED: the new version does not reach the cloud", proveWithin, true},
		{"no network, wait", OfflineWait, func(g *gateway, _ *device) { g.cloud.listErr = errors.New("network is unreachable") }, "FAILED: the new version does not reach the cloud", 3 * proveWithin, true},
		{"no network, commit", OfflineCommit, func(g *gateway, _ *device) { g.cloud.listErr = errors.New("network is unreachable") }, "COMMITTED", proveWithin, false},
		{"a person gives it up", "", func(g *gateway, _ *device) { go g.m.Rollback(context.Background(), "app") }, "FAILED: given up by a person", 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, d := installing(t, Install)
				change := g.change
				g.change = func(m *Manager) { change(m); m.Proof.Offline = test.offline }
				g.cloud.put(file("7", "1.1"), contents(7))
				d.hold = time.Minute
				g.start()
				defer g.end()
				g.until("installing", in(Installing))
				if test.name != "a person gives it up" {
					g.cloud.set(func() { test.change(g, d) })
				}
				if !d.sick { // or it is over at once
					g.until("on probation", in(Verifying))
				}
				begin := time.Now()
				if test.name == "a person gives it up" {
					test.change(g, d)
				}
				time.Sleep(test.after)
				s := g.until("over", outcomeIs(test.outcome))
				if took := time.Since(begin); took < test.after {
					t.Errorf("undone after %v: %s", took, s.Outcome)
				}
				g.cloud.set(func() { g.cloud.listErr = nil })
				if _, err := g.m.Check(t.Context(), "app"); err != nil {
					t.Fatal(err)
				}
				if s := g.status(); (s.Denied != "") != test.deny || test.deny && g.installed != "1.0" {
					t.Errorf("runs %s, denied %q", g.installed, s.Denied)
				}
			})
		})
	}
}

func TestInstallWaitsForLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Fetch)
		change := g.change
		inhibited := "the engine runs"
		g.change = func(m *Manager) {
			change(m)
			m.Rules = Rules{Time: func() (time.Time, bool) { return time.Now().UTC(), true }}
			var err error
			if m.Rules.Window, err = ParseWindow("03:00-04:00"); err != nil {
				t.Fatal(err)
			}
			m.Rules.Inhibited = func(context.Context) (s string) { g.cloud.set(func() { s = inhibited }); return s }
		}
		g.cloud.put(file("7", "1.1"), contents(7))
		g.start() // at midnight
		defer func() { g.end() }()
		s := g.until("ready", func(s ModuleStatus) bool { return s.Phase == Ready && s.Waits != "" })
		if !strings.Contains(s.Reason, "policy fetch waits for a person's word") {
			t.Errorf("got %s", s.Reason)
		}
		if err := g.m.Install(t.Context(), "app", false); err != nil {
			t.Fatal(err)
		}
		g.restart() // the word is durable
		s = g.until("waiting", func(s ModuleStatus) bool { return strings.Contains(s.Waits, "window") })
		if s.Waits != "the window opens at Sat 2000-01-01 03:00 UTC" || s.Approved != "approved" {
			t.Errorf("got %+v", s)
		}
		if err := g.m.Install(t.Context(), "app", true); err != nil {
			t.Fatal(err)
		}
		s = g.until("held back", func(s ModuleStatus) bool { return s.Waits == "held back: the engine runs" })
		g.cloud.set(func() { inhibited = "" })
		g.until("over", outcomeIs("COMMITTED"))
		if now := time.Now().UTC(); now.Hour() >= 3 || d.most != 1 {
			t.Errorf("at %v, %d hooks at once", now, d.most)
		}
		if err := g.m.Rollback(t.Context(), "app"); !errors.Is(err, ErrTooLate) {
			t.Errorf("rollback of what is permanent: %v", err)
		}
		if err := g.m.Install(t.Context(), "app", true); !errors.Is(err, ErrNothing) {
			t.Errorf("nothing newer: %v", err)
		}
	})
}

func TestInstallAsksForWhatIsNotAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := installing(t, Notify)
		g.cloud.put(file("7", "1.1"), contents(7))
		g.start()
		defer g.end()
		g.until("offered", func(s ModuleStatus) bool { return s.Offered != nil })
		if err := g.m.Approve("app"); err != nil {
			t.Fatal(err)
		}
		g.until("over", outcomeIs("COMMITTED"))
	})
}

func TestHookMayRefuse(t *testing.T) {
	for _, test := range []struct {
		verb Verb
		code Code
		want string
	}{
		{HookCheck, HookReject, "FAILED: the hook refuses it (REJECT): said by check"},
		{HookCheck, HookWrongDevice, "FAILED: the hook refuses it (WRONG_DEVICE)"},
		{HookInstall, HookDowngrade, "FAILED: the hook refuses it (DOWNGRADE): said by install"},
		{HookInstall, HookUnchanged, "FAILED: not installed in 2 tries (UNCHANGED): said by install"},
		{HookCommit, HookChanged, "FAILED: not made permanent in 8 tries"},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, d := installing(t, Install)
			d.answer[test.verb] = test.code
			g.cloud.put(file("7", "1.1"), contents(7))
			g.start()
			defer func() { g.end() }()
			g.until("over", outcomeIs(test.want))
			time.Sleep(12 * time.Hour)
			g.restart()
			time.Sleep(3 * time.Hour)
			if s := g.status(); !strings.Contains(s.Denied, "1.1 is passed over") || g.cloud.opens != 1 || g.installed != "1.0" {
				t.Errorf("%s %v: runs %s, fetched %d times, %+v", test.verb, test.code, g.installed, g.cloud.opens, s)
			}
		})
	}
}

// twoModules have a release each, of other versions, because the device has one
// version for both.
func (d *device) twoModules(keys ...string) (modules []Module) {
	for i, key := range keys {
		f := file([]string{"7", "8"}[i], []string{"1.1", "1.2"}[i])
		f.Module = key
		d.g.cloud.put(f, contents(7+i))
		modules = append(modules, Module{Key: key, Policy: Install, Installed: func(context.Context) (v Version, err error) {
			v = "1.0"
			d.set(func() {
				if slices.Contains(d.modules, key) {
					v = f.Version
				}
			})
			return v, nil
		}})
	}
	return modules
}

func TestModulesAreInstalledOneAtATimeAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Install)
		change := g.change
		g.change = func(m *Manager) {
			change(m)
			m.Modules = d.twoModules("app", "display")
		}
		d.hold = time.Hour
		g.start()
		defer g.end()
		waits := ""
		for range 800 {
			list, _ := g.m.Status()
			if list[0].Phase.Installs() && list[1].Phase.Installs() {
				t.Fatal("both are installed at once")
			}
			for _, s := range list {
				if s.Phase == Ready && s.Waits != "" {
					waits = s.Waits
				}
			}
			time.Sleep(15 * time.Second)
		}
		if d.most != 1 || !strings.HasSuffix(waits, " is being installed") || len(d.modules) != 2 {
			t.Errorf("%d hooks at once; the other waited: %q; installed %v", d.most, waits, d.modules)
		}
	})
}

// windowAtThree lets updates be installed by day.
func windowAtThree(t *testing.T) Rules {
	t.Helper()
	window, err := ParseWindow("03:00-23:00")
	if err != nil {
		t.Fatal(err)
	}
	return Rules{Window: window, Time: func() (time.Time, bool) { return time.Now().UTC(), true }}
}

// TestAllThatWaitForTheWindowKeepTheirOrder has both modules ready before either
// may be installed.
func TestAllThatWaitForTheWindowKeepTheirOrder(t *testing.T) {
	for _, order := range [][]string{{"app", "display"}, {"display", "app"}} {
		synctest.Test(t, func(t *testing.T) {
			g, d := installing(t, Install)
			change := g.change
			g.change = func(m *Manager) {
				change(m)
				m.Modules = d.twoModules(order...)
				m.Rules = windowAtThree(t)
			}
			d.hold = time.Hour
			g.start() // at midnight
			defer g.end()
			time.Sleep(2 * time.Hour)
			for _, s := range func() []ModuleStatus { list, _ := g.m.Status(); return list }() {
				if s.Waits != "the window opens at Sat 2000-01-01 03:00 UTC" {
					t.Errorf("%s: %q", s.Module, s.Waits)
				}
			}
			time.Sleep(10 * time.Hour)
			if !slices.Equal(d.modules, order) {
				t.Errorf("installed %v, want %v", d.modules, order)
			}
		})
	}
}

// TestModuleWhoseDiskFailsHoldsBackTheOthersForAWhile: its record may say that
// it is being installed, so nobody else is until it has been read again.
func TestModuleWhoseDiskFailsHoldsBackTheOthersForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Install)
		change := g.change
		g.change = func(m *Manager) {
			change(m)
			m.Modules = d.twoModules("app", "display")
			m.Rules = windowAtThree(t)
		}
		begin, room := time.Now(), filepath.Join(g.dir, "app")
		g.disk.syncErr = func(name string) error {
			if at := time.Since(begin).Hours(); strings.HasPrefix(name, room) && at > 2 && at < 4 {
				return errors.New("input/output error")
			}
			return nil
		}
		g.start() // at midnight
		defer g.end()
		time.Sleep(3*time.Hour + 30*time.Minute)
		list, _ := g.m.Status()
		if s := list[1]; s.Phase != Ready || s.Waits != "how module app stands is not known yet" {
			t.Errorf("display is %s and waits: %q", s.Phase, s.Waits)
		}
		time.Sleep(24 * time.Hour)
		if !slices.Equal(d.modules, []string{"app", "display"}) {
			t.Errorf("installed %v", d.modules)
		}
	})
}

func TestUpdateWithoutAnAnswerIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := installing(t, Install)
		g.cloud.put(file("7", "1.1"), contents(7))
		d.hold = time.Minute
		g.start()
		defer func() { g.end() }()
		g.until("installing", in(Installing))
		d.absent.Store(true)
		g.restart()
		time.Sleep(time.Hour + 7*time.Second) // not at the instant of a try
		if s := g.status(); s.Phase != Installing || s.LastError != "no installer" {
			t.Errorf("got %+v", s)
		}
		d.absent.Store(false)
		g.until("over", outcomeIs("COMMITTED"))
	})
}
