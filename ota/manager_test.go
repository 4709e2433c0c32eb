package ota

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A gateway is a Manager of one module, "app", with its disk, its cloud and
// what it runs.
type gateway struct {
	t         *testing.T
	dir       string // also a real directory, for the lock
	disk      *memFS
	cloud     *origin
	installed Version
	module    Module
	m         *Manager
	stop      context.CancelFunc
	ended     chan error
	change    func(*Manager) // before it runs; may be nil
}

func newGateway(t *testing.T, policy Policy) *gateway {
	g := &gateway{t: t, dir: t.TempDir(), cloud: newOrigin(), installed: "1.0"}
	g.disk = newMemFS(g.dir)
	g.module = Module{Key: "app", Policy: policy, Installed: func(context.Context) (v Version, err error) {
		g.cloud.set(func() { v = g.installed })
		return v, nil
	}}
	return g
}

func (g *gateway) start() {
	g.m = &Manager{
		Dir: g.dir, Modules: []Module{g.module}, Source: g.cloud.source(), CheckEvery: time.Hour,
		FS: g.disk, Rand: func() float64 { return 0.5 }, Log: slog.New(slog.DiscardHandler),
	}
	if g.change != nil {
		g.change(g.m)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.stop, g.ended = cancel, make(chan error, 1)
	go func() { g.ended <- g.m.Run(ctx) }()
	synctest.Wait()
}

func (g *gateway) end() {
	g.t.Helper()
	g.stop()
	if err := <-g.ended; err != nil {
		g.t.Errorf("Run ended with %v", err)
	}
}

func (g *gateway) restart() { g.end(); g.start() }

func (g *gateway) status() ModuleStatus {
	list, _ := g.m.Status()
	return list[0]
}

// until waits until cond holds, for at most an hour and a half.
func (g *gateway) until(what string, cond func(ModuleStatus) bool) ModuleStatus {
	g.t.Helper()
	limit := time.After(90 * time.Minute)
	for {
		list, changed := g.m.Status()
		if cond(list[0]) {
			return list[0]
		}
		select {
		case <-changed:
		case <-limit:
			g.t.Fatalf("not %s: %+v", what, list[0])
		}
	}
}

func in(p Phase) func(ModuleStatus) bool {
	return func(s ModuleStatus) bool { return s.Phase == p }
}

// ready waits for a payload and checks it.
func (g *gateway) ready(id string) {
	g.t.Helper()
	s := g.until("ready with "+id, func(s ModuleStatus) bool { return s.Phase == Ready && s.Held.ID == id })
	got, err := g.disk.ReadFile(s.Payload)
	if want := g.cloud.contents[id]; err != nil || digest(got) != digest(want) || s.SHA256 != digest(want) {
		g.t.Fatalf("payload %s: %d bytes, %.8s, %v; status says %.8s, want %.8s", id, len(got), digest(got), err, s.SHA256, digest(want))
	}
}

// txns returns the transactions on disk.
func (g *gateway) txns() []string {
	names, err := g.disk.ReadDir(filepath.Join(g.dir, "app", "txn"))
	if err != nil {
		g.t.Fatal(err)
	}
	return names
}

func contents(n int) []byte { return random(rand.New(rand.NewPCG(uint64(n), 0)), 100_000+n) }

func TestManagerNotifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Notify)
		g.start()
		defer g.end()
		s := g.until("checked", func(s ModuleStatus) bool { return !s.LastCheck.IsZero() })
		if s.Offered != nil || s.Installed != "1.0" || s.Reason != "no active release is newer than 1.0" {
			t.Errorf("nothing listed: %+v", s)
		}
		g.cloud.put(file("7", "1.1"), contents(7))
		s = g.until("offered", func(s ModuleStatus) bool { return s.Offered != nil })
		if s.Offered.Version != "1.1" || s.Phase != Idle || s.Reason != "1.1 is there; policy notify only reports it" {
			t.Errorf("got %+v", s)
		}
		if wait := time.Until(s.NextCheck); wait < 50*time.Minute || wait > 70*time.Minute {
			t.Errorf("next check in %v", wait)
		}
		if g.cloud.opens != 0 {
			t.Error("it fetched")
		}
	})
}

func TestManagerFetches(t *testing.T) {
	for _, policy := range []Policy{Fetch, Install} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, policy)
			g.cloud.put(file("6", "1.1"), contents(6))
			g.cloud.put(file("7", "1.2"), contents(7))
			g.start()
			defer func() { g.end() }()
			g.ready("7")
			s := g.status()
			if honest := strings.Contains(s.Reason, "no installer is set up on this device"); honest != (policy == Install) {
				t.Errorf("policy %s: %s", policy, s.Reason)
			}
			g.restart()
			g.ready("7")
			if g.cloud.opens != 1 {
				t.Errorf("%d requests: what is at hand is fetched again", g.cloud.opens)
			}
			if list := g.disk.outside(g.dir + "/app"); len(list) != 0 {
				t.Errorf("written outside the module's room: %v", list)
			}
		})
	}
}

func TestManagerFetchesOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Notify)
		g.start()
		defer func() { g.end() }()
		if err := g.m.Fetch(t.Context(), "app"); !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), "1.0") {
			t.Errorf("nothing listed: got %v", err)
		}
		if err := g.m.Fetch(t.Context(), "nope"); !errors.Is(err, ErrNoModule) {
			t.Errorf("got %v", err)
		}
		g.cloud.put(file("7", "1.1"), contents(7))
		g.cloud.set(func() { g.cloud.pace = time.Second })
		if s, err := g.m.Check(t.Context(), "app"); err != nil || s.Offered == nil || s.Phase != Idle {
			t.Errorf("check: %+v, %v", s, err)
		}
		if err := g.m.Fetch(t.Context(), "app"); err != nil {
			t.Fatal(err)
		}
		g.until("downloading", in(Downloading))
		g.restart() // what was asked for by hand outlives the process
		g.ready("7")
		if err := g.m.Fetch(t.Context(), "app"); err != nil {
			t.Errorf("already there: %v", err)
		}
	})
}

func TestManagerFollowsTheCatalogue(t *testing.T) {
	tests := []struct {
		name   string
		change func(*gateway)
		then   string // id at hand, "" for none
		reason string // in the outcome
	}{
		{"withdrawn", func(g *gateway) { g.cloud.remove("7") }, "", "taken back by the server"},
		{"deactivated", func(g *gateway) { g.cloud.set(func() { g.cloud.files[0].Active = false }) }, "", "taken back by the server"},
		{"renamed", func(g *gateway) { g.cloud.set(func() { g.cloud.files[0].Version = "1.1.1" }) }, "7", "taken back by the server"},
		{"replaced", func(g *gateway) { g.cloud.put(file("8", "1.2"), contents(8)) }, "8", "replaced by 1.2"},
		{"installed by hand", func(g *gateway) { g.cloud.set(func() { g.installed = "1.1" }) }, "", "not needed: 1.1 is installed"},
		{"an older one comes", func(g *gateway) { g.cloud.put(file("9", "1.0.5"), contents(9)) }, "7", ""},
	}
	for _, slow := range []bool{false, true} {
		for _, test := range tests {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Fetch)
				g.cloud.put(file("7", "1.1"), contents(7))
				phase := Ready
				if slow { // while it is fetched
					g.cloud.pace, phase = 50*time.Second, Downloading
				}
				g.start()
				defer g.end()
				g.until("begun", in(phase))
				test.change(g)
				g.cloud.set(func() { g.cloud.pace = 0 })
				if _, err := g.m.Check(t.Context(), "app"); err != nil {
					t.Fatal(err)
				}
				if test.then != "" {
					g.ready(test.then)
				}
				s := g.status()
				if test.then == "" && (s.Phase != Idle || s.Held != nil || s.Payload != "" || len(g.txns()) != 0) {
					t.Errorf("%s: left %v %+v", test.name, g.txns(), s)
				}
				if !strings.Contains(s.Outcome, test.reason) || (s.Outcome == "") != (test.reason == "") {
					t.Errorf("%s: outcome %q, want %q", test.name, s.Outcome, test.reason)
				}
			})
		}
	}
}

func TestManagerGoesBackOnlyIfAllowed(t *testing.T) {
	for _, allow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, Fetch)
			g.module.AllowDowngrade = allow
			g.installed = "2.0"
			g.cloud.put(file("7", "1.9"), contents(7))
			g.start()
			defer g.end()
			s := g.until("checked", func(s ModuleStatus) bool { return !s.LastCheck.IsZero() })
			if !allow {
				if s.Offered != nil {
					t.Errorf("offers %+v", s.Offered)
				}
				return
			}
			g.ready("7")
		})
	}
}

func TestManagerDeniesWhatTheServerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Fetch)
		g.module.AllowDowngrade = true
		g.cloud.put(file("5", "0.9"), contents(5))
		g.cloud.put(file("7", "1.1"), contents(7))
		bad := true
		g.cloud.fault = func(int, http.Header) (*Response, error) {
			if bad {
				return &Response{Status: 400}, nil
			}
			return nil, nil
		}
		g.start()
		defer func() { g.end() }()
		s := g.until("denied", func(s ModuleStatus) bool { return s.Denied != "" })
		if !strings.Contains(s.Denied, "1.1 is passed over") || !strings.Contains(s.Outcome, "1.1 FAILED: the server refuses the file (400)") {
			t.Errorf("got %+v", s)
		}
		time.Sleep(10 * time.Hour)
		g.restart()
		time.Sleep(10 * time.Hour)
		if g.cloud.opens != 1 {
			t.Errorf("asked %d times for what is refused, or went back to 0.9", g.cloud.opens)
		}
		g.cloud.set(func() { bad, g.cloud.files[1].Notes = false, "fixed" }) // the listing changes
		g.ready("7")
	})
}

func TestManagerTriesAgainAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Fetch)
		g.cloud.put(file("7", "1.1"), contents(7))
		down := true
		g.cloud.fault = func(int, http.Header) (*Response, error) {
			if down {
				return nil, errors.New("network is unreachable")
			}
			return nil, nil
		}
		g.start()
		defer g.end()
		time.Sleep(30 * time.Hour)
		g.cloud.set(func() { down = false })
		time.Sleep(7 * time.Hour)
		g.ready("7")
	})
}

func TestManagerDeniedReleaseIsFetchedByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Fetch)
		g.cloud.put(file("7", "1.1"), contents(7))
		g.cloud.fault = func(n int, _ http.Header) (*Response, error) {
			if n == 1 {
				return &Response{Status: 400}, nil
			}
			return nil, nil
		}
		g.start()
		defer g.end()
		g.until("denied", func(s ModuleStatus) bool { return s.Denied != "" })
		if err := g.m.Fetch(t.Context(), "app"); err != nil {
			t.Fatal(err)
		}
		g.ready("7")
	})
}

func TestManagerReadsTheCatalogueToItsEnd(t *testing.T) {
	for _, test := range []struct {
		name   string
		files  int
		ignore bool
		lists  int
		want   string // newest id found; "" for an error
	}{
		{"a short page", 49, false, 1, "49"},
		{"a full page", 50, false, 2, "50"},
		{"many", 1234, false, 25, "1234"},
		{"no end", 2100, false, 40, ""},
		{"offset ignored", 70, true, 2, "50"},
	} {
		o := newOrigin()
		o.ignore = test.ignore
		for i := range test.files {
			o.files = append(o.files, file(fmt.Sprint(i+1), fmt.Sprintf("1.%d", i+1)))
		}
		files, _, err := o.source().catalogue(t.Context(), "app")
		f, _ := Newest(files, "app", "", false)
		if f.ID != test.want || errors.Is(err, ErrListing) != (test.want == "") {
			t.Errorf("%s: newest is %q, %v, want %q", test.name, f.ID, err, test.want)
		}
		if o.lists != test.lists {
			t.Errorf("%s: %d pages, want %d", test.name, o.lists, test.lists)
		}
	}
}

func TestManagerRefusesHostileReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Fetch)
		g.cloud.put(file("../../7", "9.0"), contents(1))
		g.cloud.put(file("8", "../9.1"), contents(2))
		g.cloud.put(File{ID: "9", Module: "app", Version: "9.2", Active: true, Notes: "\x1b]0;x\a"}, contents(3))
		g.cloud.put(file("10", "1.1"), contents(10))
		g.start()
		defer g.end()
		g.ready("10")
		if got := fmt.Sprint(g.status().Refused); strings.Count(got, "name refused") != 3 {
			t.Errorf("refused: %s", got)
		}
		if list := g.disk.outside(g.dir + "/app"); len(list) != 0 {
			t.Errorf("written outside: %v", list)
		}
	})
}

func TestManagerChecksOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Notify)
		g.cloud.files = []File{file("7", "1.1")}
		g.cloud.delay = time.Second
		g.start()
		defer g.end()
		time.Sleep(time.Minute)
		synctest.Wait()
		before := g.cloud.lists
		errs := make(chan error, 40)
		for i := range 40 {
			go func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				_, err := g.m.Check(t.Context(), "app")
				errs <- err
			}()
		}
		for range 40 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := g.cloud.lists - before; n != 1 {
			t.Errorf("%d lists for 40 who asked at once", n)
		}
	})
}

func TestManagerHonoursTheCataloguesRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Notify)
		g.cloud.listErr = refusal{429, 20 * time.Minute}
		g.start()
		defer g.end()
		s := g.until("refused", func(s ModuleStatus) bool { return s.LastError != "" && time.Until(s.NextCheck) > time.Minute })
		if wait := time.Until(s.NextCheck); wait != 20*time.Minute {
			t.Errorf("next check in %v", wait)
		}
		if _, err := g.m.Check(t.Context(), "app"); err == nil || !strings.Contains(err.Error(), "429") {
			t.Errorf("check: %v", err)
		}
		g.cloud.set(func() { g.cloud.listErr = nil })
		g.until("checked", func(s ModuleStatus) bool { return !s.LastCheck.IsZero() && s.LastError == "" })
	})
}

func TestManagerSaysWhenTheInstalledVersionIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Fetch)
		g.module.Installed = func(context.Context) (Version, error) { return "", errors.New("get-version: exit status 1") }
		g.cloud.put(file("7", "1.1"), contents(7))
		g.start()
		defer g.end()
		s := g.until("checked", func(s ModuleStatus) bool { return !s.LastCheck.IsZero() })
		if s.Offered != nil || g.cloud.opens != 0 || !strings.Contains(s.Reason, "installed version unknown: get-version: exit status 1") {
			t.Errorf("got %+v", s)
		}
		if v := g.m.Versions(t.Context()); len(v) != 0 {
			t.Errorf("reports %v", v)
		}
		if err := g.m.Fetch(t.Context(), "app"); err == nil || !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("fetch: %v", err)
		}
	})
}

// TestManagerStartsFromWhateverIsOnDisk puts the room into each state that a
// crash may leave.
func TestManagerStartsFromWhateverIsOnDisk(t *testing.T) {
	tests := []struct {
		name string
		do   func(g *gateway, r *room) error
		want string // id at hand in the end
	}{
		{"orphaned transaction", func(g *gateway, r *room) error {
			if err := r.begin(file("7", "1.1"), "1.0", Fetch); err != nil {
				return err
			}
			return g.disk.Remove(r.path("state"))
		}, "8"},
		{"selected", func(g *gateway, r *room) error { return r.begin(file("8", "1.2"), "1.0", Fetch) }, "8"},
		{"selected, replaced meanwhile", func(g *gateway, r *room) error { return r.begin(file("7", "1.1"), "1.0", Fetch) }, "8"},
		{"downloading", func(g *gateway, r *room) error {
			return errors.Join(r.begin(file("8", "1.2"), "1.0", Fetch), r.move(Downloading, nil))
		}, "8"},
		{"payload named, record not written", func(g *gateway, r *room) error {
			return errors.Join(r.begin(file("8", "1.2"), "1.0", Fetch), r.move(Downloading, nil), g.complete(r, "8"))
		}, "8"},
		{"verified", func(g *gateway, r *room) error {
			return errors.Join(r.begin(file("8", "1.2"), "1.0", Fetch), r.move(Downloading, nil), g.complete(r, "8"), g.verified(r, "8"))
		}, "8"},
		{"ready, payload rotten", func(g *gateway, r *room) error {
			err := errors.Join(r.begin(file("8", "1.2"), "1.0", Fetch), r.move(Downloading, nil), g.complete(r, "8"), g.verified(r, "8"), r.move(Ready, nil))
			g.disk.names[r.txn()+"/payload"].data[99] ^= 1
			return err
		}, "8"},
		{"ready, payload deleted", func(g *gateway, r *room) error {
			return errors.Join(r.begin(file("8", "1.2"), "1.0", Fetch), r.move(Downloading, nil), g.complete(r, "8"), g.verified(r, "8"),
				r.move(Ready, nil), g.disk.Remove(r.txn()+"/payload"))
		}, "8"},
		{"failed", func(g *gateway, r *room) error {
			return errors.Join(r.begin(file("8", "1.2"), "1.0", Fetch), r.move(Downloading, nil), r.move(Failed, func(rec *record) { rec.Reason = "x" }))
		}, "8"},
		{"withdrawn", func(g *gateway, r *room) error {
			return errors.Join(r.begin(file("7", "1.1"), "1.0", Fetch), r.move(Withdrawn, nil))
		}, "8"},
		{"intent gone", func(g *gateway, r *room) error {
			return errors.Join(r.begin(file("8", "1.2"), "1.0", Fetch), r.move(Downloading, nil), g.disk.Remove(r.txn()+"/intent.json"))
		}, "8"},
		{"record torn", func(g *gateway, r *room) error {
			err := errors.Join(r.begin(file("8", "1.2"), "1.0", Fetch), r.move(Downloading, nil))
			g.disk.names[r.path("state")].data[9] ^= 1
			return err
		}, "8"},
		{"both records torn", func(g *gateway, r *room) error {
			err := errors.Join(r.begin(file("8", "1.2"), "1.0", Fetch), r.move(Downloading, nil))
			g.disk.names[r.path("state")].data[9] ^= 1
			g.disk.names[r.path("state.prev")].data[9] ^= 1
			return err
		}, "8"},
		{"denials unreadable", func(g *gateway, r *room) error {
			return r.writeJSON("what", "deny.json")
		}, "8"},
		{"of a newer build", func(g *gateway, r *room) error {
			r.rec.Fmt = 2
			return r.begin(file("8", "1.2"), "1.0", Fetch)
		}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Fetch)
				g.cloud.put(file("7", "1.1"), contents(7))
				g.cloud.put(file("8", "1.2"), contents(8))
				r, err := openRoom(g.disk, g.dir, "app")
				if err != nil {
					t.Fatal(err)
				}
				if err := test.do(g, r); err != nil {
					t.Fatal(err)
				}
				before := g.txns()
				g.start()
				defer g.end()
				if test.want == "" {
					s := g.until("refused", func(s ModuleStatus) bool { return s.LastError != "" })
					if !strings.Contains(s.LastError, "newer version of the agent") || !slices.Equal(g.txns(), before) {
						t.Errorf("touched what a newer build left: %v, %+v", g.txns(), s)
					}
					return
				}
				g.ready(test.want)
				if n := len(g.txns()); n != 1 {
					t.Errorf("%d transactions on disk", n)
				}
			})
		})
	}
}

// complete puts the payload of id where a download would leave it.
func (g *gateway) complete(r *room, id string) error {
	d := Download{Dir: r.txn(), ID: id, Open: g.cloud.open, FS: g.disk}
	_, err := d.Run(g.t.Context())
	return err
}

func (g *gateway) verified(r *room, id string) error {
	return r.move(Verified, func(rec *record) {
		rec.Size, rec.SHA256 = int64(len(g.cloud.contents[id])), digest(g.cloud.contents[id])
	})
}

// TestManagerSurvivesPowerCuts cuts the power at random system calls while
// releases come and go: in the end the newest one is at hand, whole, and nothing
// else is.
func TestManagerSurvivesPowerCuts(t *testing.T) {
	for round := range rounds(60) {
		r := rand.New(rand.NewPCG(20, uint64(round)))
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, Fetch)
			g.cloud.pace = 200 * time.Millisecond
			for n := range 3 {
				id := fmt.Sprint(7 + n)
				g.cloud.put(file(id, fmt.Sprintf("1.%d", n+1)), contents(200_000+n))
				for range r.IntN(4) {
					g.disk.dieAt = g.disk.calls + 1 + r.IntN(150)
					g.start()
					time.Sleep(time.Duration(r.IntN(100)) * time.Second)
					outcome := g.status().Outcome
					g.end()
					if strings.Contains(outcome, "lost") || strings.Contains(outcome, "unreadable") {
						t.Errorf("a record vouched for what was not durable: %s", outcome)
					}
					if r.IntN(2) == 0 {
						g.disk = g.disk.kill()
					} else {
						g.disk = g.disk.cut(r)
					}
				}
				g.disk.dieAt = 0
				g.start()
				g.ready(id)
				if o := g.status().Outcome; strings.Contains(o, "lost") || strings.Contains(o, "unreadable") {
					t.Errorf("a record vouched for what was not durable: %s", o)
				}
				if txns := g.txns(); len(txns) != 1 || !strings.HasSuffix(txns[0], "-"+id) {
					t.Errorf("on disk: %v", txns)
				}
				g.end()
			}
		})
	}
}

func TestManagerTurnsOffOnAStorageFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Fetch)
		g.cloud.put(file("7", "1.1"), contents(7))
		g.disk.syncErr = func(name string) error {
			if filepath.Base(name) == "part" {
				return errors.New("input/output error")
			}
			return nil
		}
		g.start()
		defer g.end()
		s := g.until("off", func(s ModuleStatus) bool { return s.Fault != "" })
		if !strings.Contains(s.Reason, "updates are off: storage fault") {
			t.Errorf("got %+v", s)
		}
		time.Sleep(48 * time.Hour)
		if g.cloud.opens != 2 {
			t.Errorf("%d requests although the disk is broken", g.cloud.opens)
		}
		if err := g.m.Fetch(t.Context(), "app"); !errors.Is(err, ErrStorage) {
			t.Errorf("fetch: %v", err)
		}
	})
}

func TestManagerWaitsForTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Notify)
		other, err := lockDir(g.dir)
		if err != nil {
			t.Fatal(err)
		}
		g.start()
		defer g.end()
		if _, err := g.m.Check(t.Context(), "app"); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "in use by another agent") {
			t.Errorf("got %v", err)
		}
		if s := g.status(); !strings.Contains(s.Reason, "in use by another agent") {
			t.Errorf("got %+v", s)
		}
		other.Close()
		g.until("checked", func(s ModuleStatus) bool { return !s.LastCheck.IsZero() && s.Fault == "" })
	})
}

func TestManagerRefusesBadKeys(t *testing.T) {
	for _, keys := range [][]string{{"../app"}, {""}, {"app", "app"}} {
		m := &Manager{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
		for _, key := range keys {
			m.Modules = append(m.Modules, Module{Key: key})
		}
		if err := m.Run(t.Context()); err == nil {
			t.Errorf("keys %q are accepted", keys)
		}
	}
}

func TestManagerOnTheRealDisk(t *testing.T) {
	want := contents(7)
	o := newOrigin()
	o.put(file("7", "1.1"), want)
	m := &Manager{
		Dir: filepath.Join(t.TempDir(), "ota"), Source: o.source(), CheckEvery: time.Millisecond,
		Modules: []Module{{Key: "app", Policy: Fetch}}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	var s ModuleStatus
	for s.Phase != Ready {
		list, changed := m.Status()
		if s = list[0]; s.Phase != Ready {
			<-changed
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(s.Payload)
	if err != nil || digest(got) != digest(want) {
		t.Errorf("payload: %d bytes, %v", len(got), err)
	}
	err = filepath.Walk(m.Dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := m.Check(t.Context(), "app"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}
