package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/bace"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beamery"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// withAccount runs f beside a gateway with one file of accounts.d, in a bubble.
func withAccount(t *testing.T, dial func(context.Context, string, string) (net.Conn, error), text string, f func(t *testing.T, gw *gateway)) {
	t.Helper()
	cloud := cloudtest.New(cloudtest.Options{})
	defer cloud.Close()
	gw := newGateway(t, cloud)
	gw.start(t)
	defer gw.stop(t)
	gw.g.Dial = dial
	dir := filepath.Join(gw.dir, "accounts.d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	gw.write(t, "accounts.d/building.conf", strings.ReplaceAll(text, "DIR", gw.dir))
	confs, err := conf.LoadAccounts(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	running := map[string]runningAccount{}
	gw.g.startAccount(ctx, &group, running, confs[0])
	if running["building"].stop == nil {
		cancel()
		t.Fatalf("the account does not start: %v", gw.g.troubles.text)
	}
	time.Sleep(time.Minute)
	f(t, gw)
	if acc, err := gw.g.accounts.get("building"); err == nil {
		acc.forward.(*http.Transport).CloseIdleConnections()
	}
	cancel()
	running["building"].stop()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// ask sends one request through the proxy's own parts, as the local API does.
func ask(t *testing.T, g *generation, method, path string) (status int, token string, again func() bool) {
	t.Helper()
	up, err := g.upstream("building")
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, up.Base.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, token, err := up.Send(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
	_ = res.Body.Close()
	return res.StatusCode, token, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return up.Refused(ctx, token)
	}
}

// TestAnAccountServesLocalPrograms follows a BACE token through its life: the
// file, the proxy, a 401 that is a lack of permission, an extension in place
// that touches no file, and a token that the cloud has ended.
func TestAnAccountServesLocalPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bace.New(bace.Options{})
		defer s.Close()
		s.AddAccount(bace.Account{Username: "me@example.com", Password: "p", ClientID: "c", ClientSecret: "s"})
		told := filepath.Join(t.TempDir(), "told")
		text := "[account]\nprofile = bace\nurl = " + s.URL() + "\nusername = me@example.com\npassword = p\nclient_id = c\nclient_secret = s\n" +
			"[deliver.app]\nfile = DIR/token\nmode = 0640\nnotify = /bin/sh -c \"echo $SPOKE_ZONE_DELIVERY >>" + told + "\"\n" +
			"[deliver.env]\nfile = DIR/env\nformat = env:TOKEN\n" +
			"[deliver.lost]\nfile = DIR/none/token\n"
		withAccount(t, s.DialContext, text, func(t *testing.T, gw *gateway) {
			g := gw.g
			file := filepath.Join(gw.dir, "token")
			read := func() string {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			first := read()
			if env, err := os.ReadFile(filepath.Join(gw.dir, "env")); string(env) != "TOKEN="+first+"\n" || err != nil || !s.Valid(first) {
				t.Errorf("delivered %q and %q, %v", first, env, err)
			}
			status := g.status()
			var states []string
			for _, a := range status.Accounts {
				for _, d := range a.Deliveries {
					states = append(states, a.Account+" "+d.ID+" "+d.State)
				}
			}
			if got := strings.Join(states, ", "); got != "building app delivered, building env delivered, building lost failing" {
				t.Errorf("deliveries: %s", got)
			}
			if p := strings.Join(status.Problems, "\n"); !strings.Contains(p, "account building: delivery lost:") || strings.Contains(p, first) {
				t.Errorf("problems: %s", p)
			}

			if code, token, _ := ask(t, g, "GET", "/api/v2/physical-device"); code != 200 || token != first {
				t.Errorf("through the proxy: %d", code)
			}
			for n := range 3 { // it may not, which BACE says by a 401
				code, _, again := ask(t, g, "GET", "/api/v2/data/index")
				start := time.Now()
				if code != 401 || again() {
					t.Errorf("a call without permission: %d", code)
				}
				if took := time.Since(start); n > 0 && took > 0 {
					t.Errorf("the cloud was asked again about the token, for %v", took)
				}
			}
			if n := s.Count(host.KindIssue); n != 1 {
				t.Errorf("%d tokens made, want 1", n)
			}

			var before, after syscall.Stat_t
			if err := syscall.Stat(file, &before); err != nil {
				t.Fatal(err)
			}
			state, _, err := g.follow("building")
			if err != nil || state.Token != first || state.Stale {
				t.Errorf("state: %s %v, %v", state.State, state.Stale, err)
			}
			time.Sleep(23 * time.Hour)
			longer, _, err := g.follow("building")
			if err != nil || longer.Token != first || !longer.Expires.After(state.Expires.Add(24*time.Hour)) {
				t.Errorf("it is not extended: until %v, then %v, %v", state.Expires, longer.Expires, err)
			}
			if err := syscall.Stat(file, &after); err != nil {
				t.Fatal(err)
			}
			if before.Ino != after.Ino || before.Mtim != after.Mtim || before.Ctim != after.Ctim {
				t.Error("the file was touched when the same token was extended")
			}
			if b, err := os.ReadFile(told); string(b) != "app\n" || err != nil {
				t.Errorf("told %q, %v, want once", b, err)
			}

			s.Revoke(first)
			code, _, again := ask(t, g, "GET", "/api/v2/physical-device")
			if code != 401 || !again() {
				t.Errorf("a token that the cloud has ended: %d, and no other", code)
			}
			if code, token, _ := ask(t, g, "GET", "/api/v2/physical-device"); code != 200 || token == first {
				t.Errorf("afterwards: %d", code)
			}
			time.Sleep(time.Minute)
			if second := read(); second == first || !s.Valid(second) {
				t.Error("the file does not hold the new token")
			}
			if b, err := os.ReadFile(told); string(b) != "app\napp\n" || err != nil {
				t.Errorf("told %q, %v, want twice", b, err)
			}
			s.Revoke(read())
			if err := g.rejected("building", longer.Token, "an old one"); err != nil {
				t.Error(err)
			}
			if err := g.rejected("building", read(), "401"); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Minute)
			if !s.Valid(read()) || s.Count(host.KindIssue) != 3 {
				t.Errorf("a report of a refused token: %d tokens made, want 3", s.Count(host.KindIssue))
			}
		})
	})
}

// TestLocalProgramsShareARateLimit has 8 of them hammer a Beamery account: no
// request arrives while the cloud's window is closed.
func TestLocalProgramsShareARateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := beamery.New(beamery.Options{})
		defer s.Close()
		s.AddClient(beamery.Client{ID: "c", Secret: "s"})
		text := fmt.Sprintf("[account]\nprofile = beamery\nurl = %s\nclient_id = c\nclient_secret = s\n", s.URL())
		withAccount(t, s.DialContext, text, func(t *testing.T, gw *gateway) {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 40 {
						if code, _, _ := ask(t, gw.g, "GET", "/v1/oauth/token/permissions"); code != 200 && code != 429 {
							t.Errorf("%d", code)
						}
					}
				})
			}
			all.Wait()
			if n := s.Count(host.KindInside); n != 0 {
				t.Errorf("%d requests inside a closed window", n)
			}
			if n := s.Count(host.KindIssue); n != 1 {
				t.Errorf("%d tokens made", n)
			}
		})
	})
}

func TestWhatTheUnitWillNotDeliver(t *testing.T) {
	dir := t.TempDir()
	text := "[account]\nprofile = beamery\nclient_id = c\nclient_secret = s\n[deliver.a]\nfile = /run/app/token\nowner = app\n[deliver.b]\nfile = /var/lib/spoke-zone-agent/b\nnotify = reload:app.service\n"
	if err := os.WriteFile(filepath.Join(dir, "building.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(DeliveryWarnings(dir, []string{"/var/lib/spoke-zone-agent", "/run/spoke-zone-agent"}), "\n")
	for _, want := range []string{"deliver.a: the unit may not write to /run/app: add ReadWritePaths=/run/app", "deliver.a: the unit has no CAP_CHOWN", "deliver.b: the unit has no way to systemd"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	if strings.Count(got, "\n") != 2 {
		t.Errorf("got %s", got)
	}
}

func TestAnAccountThatIsNotThere(t *testing.T) {
	g := &generation{runner: &runner{}}
	if _, err := g.upstream("other"); err == nil || err.(*local.Error).Code != local.NotFound {
		t.Errorf("proxy: %v", err)
	}
	if _, _, err := g.follow("other"); err == nil {
		t.Error("follow: no error")
	}
	if err := g.rejected("other", "x", "y"); err == nil {
		t.Error("rejected: no error")
	}
}
