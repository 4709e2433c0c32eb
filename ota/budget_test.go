package ota

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestBudgetIsKept fetches 700 kB at 300 kB a month, across restarts and power
// losses.
func TestBudgetIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Fetch)
		const limit, size = 3 << 20, 7 << 20
		want := random(rand.New(rand.NewPCG(1, 1)), size)
		var unknown atomic.Bool
		g.change = func(m *Manager) {
			m.Monthly = limit
			m.Rules.Time = func() (time.Time, bool) { return time.Now(), !unknown.Load() }
		}
		g.cloud.put(file("7", "1.1"), want)
		g.start()
		defer func() { g.end() }()
		s := g.until("spent", func(s ModuleStatus) bool {
			return strings.Contains(s.LastError, "the 3.0 MiB of this month are used up")
		})
		if s.Phase != Downloading {
			t.Errorf("got %+v", s)
		}
		for range 3 {
			time.Sleep(24 * time.Hour)
			g.end()
			g.disk = g.disk.kill()
			g.start()
		}
		if err := g.m.Fetch(t.Context(), "app"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if g.cloud.served > limit+bufferCount*bufferSize {
			t.Errorf("%d bytes in a month of at most %d", g.cloud.served, limit)
		}
		unknown.Store(true) // it may be any month
		time.Sleep(30 * 24 * time.Hour)
		if g.cloud.served > limit+bufferCount*bufferSize {
			t.Errorf("%d bytes while the month is unknown", g.cloud.served)
		}
		unknown.Store(false)
		time.Sleep(60 * 24 * time.Hour)
		if s := g.status(); s.Phase != Ready || s.SHA256 != digest(want) {
			t.Errorf("three months later: %+v", s)
		}
	})
}

func TestInhibitorsHoldBack(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, "locks")
	for _, test := range []struct {
		name string
		do   func() error
		in   Inhibitors
		want string
	}{
		{"none", nil, Inhibitors{}, ""},
		{"no directory", nil, Inhibitors{Dir: lock}, ""},
		{"an empty one", func() error { return os.Mkdir(lock, 0o700) }, Inhibitors{Dir: lock}, ""},
		{"a hidden file", func() error { return os.WriteFile(lock+"/.tmp", nil, 0o600) }, Inhibitors{Dir: lock}, ""},
		{"a file", func() error { return os.WriteFile(lock+"/engine", nil, 0o600) }, Inhibitors{Dir: lock}, lock + "/engine"},
		{"that says why", func() error { return os.WriteFile(lock+"/engine", []byte("it runs\x1b[31m\nx"), 0o600) }, Inhibitors{Dir: lock}, lock + "/engine: it runs [31m"},
		{"no directory at all", func() error { return os.WriteFile(dir+"/file", nil, 0o600) }, Inhibitors{Dir: dir + "/file"}, "open " + dir + "/file: not a directory"},
		{"a command that agrees", nil, Inhibitors{Command: []string{"sh", "-c", "echo fine"}}, ""},
		{"one that does not", nil, Inhibitors{Command: []string{"sh", "-c", "echo driving; exit 1"}}, "driving"},
		{"one without a word", nil, Inhibitors{Command: []string{"false"}}, "false: exit status 1"},
		{"one that is not there", nil, Inhibitors{Command: []string{"/nowhere/x"}}, "/nowhere/x: fork/exec /nowhere/x: no such file or directory"},
	} {
		if test.do != nil {
			if err := test.do(); err != nil {
				t.Fatal(err)
			}
		}
		if got := test.in.Reason(context.Background()); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// TestUpdateSurvivesAFullDisk fills the disk after every so many bytes, for an
// hour each: in the end the update is made, and nothing says that it was.
func TestUpdateSurvivesAFullDisk(t *testing.T) {
	for full := int64(1); full < 130_000; full = full*5/4 + 97 {
		synctest.Test(t, func(t *testing.T) {
			g, d := installing(t, Install)
			g.cloud.put(file("7", "1.1"), contents(7))
			g.disk.full = full
			g.start()
			defer g.end()
			time.Sleep(time.Hour)
			if s := g.status(); strings.Contains(s.Outcome, "COMMITTED") && g.installed != "1.1" {
				t.Errorf("full after %d: %+v", full, s)
			}
			g.disk.mu.Lock()
			g.disk.full = 0
			g.disk.mu.Unlock()
			time.Sleep(9 * time.Hour)
			if s := g.status(); s.Phase != Idle || !strings.Contains(s.Outcome, "1.1 COMMITTED") || d.most != 1 {
				t.Errorf("full after %d: %s; %+v", full, d.did(), s)
			}
			if list := g.disk.outside(g.dir + "/app"); len(list) != 0 {
				t.Errorf("written outside: %v", list)
			}
		})
	}
}
