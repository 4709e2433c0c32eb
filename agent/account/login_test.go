package account

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/placeos"
)

// unattended is a gateway at PlaceOS that has no password.
func unattended(t *testing.T) *gateway {
	t.Helper()
	g := atPlaceOS(0)
	delete(g.values, profile.Password)
	delete(g.values, profile.Username)
	g.rng, g.disk = rand.New(rand.NewPCG(1, 1)), powercut.New()
	g.boot(t)
	time.Sleep(time.Minute)
	if s, _ := g.Status(); s.State != Lost || !s.NeedsLogin || !strings.Contains(s.Reason, "spoke-zone-agent login") {
		t.Fatalf("without anything: %s, %s", s.State, s.Reason)
	}
	return g
}

// signIn is what a person does at the cloud's page: it returns the cookie.
func signIn(t *testing.T, g *gateway) *http.Cookie {
	t.Helper()
	res, err := g.HTTP.PostForm(g.cloud.URL()+"/auth/signin", url.Values{"email": {"me@example.com"}, "password": {"p-secret"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, c := range res.Cookies() {
		if c.Name == "user" {
			return c
		}
	}
	t.Fatalf("no session: %s", res.Status)
	return nil
}

// TestLoginByBrowser walks through the authorization code flow with PKCE, and
// sees the pair rotate for months afterwards without a password.
func TestLoginByBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := unattended(t)
		defer g.cloud.Close()
		defer func() { g.kill(false) }()
		var l Login
		address, _, err := l.Begin(g.Provider, "http://127.0.0.1:8123/")
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(signIn(t, g))
		res, err := g.HTTP.Transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer := res.Header.Get("Location")
		if err := l.Finish(t.Context(), g.Keeper, strings.Replace(answer, "state=", "state=x", 1)); !errors.Is(err, ErrUnknownLogin) {
			t.Errorf("another state: %v", err)
		}
		_, state, err := l.Begin(g.Provider, "http://127.0.0.1:8123/")
		if err != nil {
			t.Fatal(err)
		}
		calls := g.cloud.Count(host.KindRequest)
		if err := l.Finish(t.Context(), g.Keeper, "http://evil.example:8123/?code=c&state="+state); err == nil || g.cloud.Count(host.KindRequest) != calls {
			t.Errorf("another address: %v, %d calls", err, g.cloud.Count(host.KindRequest)-calls)
		}
		if err := l.Finish(t.Context(), g.Keeper, answer); err != nil {
			t.Fatal(err)
		}
		if err := l.Finish(t.Context(), g.Keeper, answer); !errors.Is(err, ErrUnknownLogin) {
			t.Errorf("the same answer again: %v", err)
		}
		for range 100 {
			time.Sleep(time.Hour)
			if _, status, err := g.use(t.Context()); status != 200 {
				t.Fatalf("got %d, %v", status, err)
			}
		}
		if n := g.cloud.Count(host.KindIssue); n != 1 {
			t.Errorf("%d logins", n)
		}
	})
}

func TestLoginBySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := unattended(t)
		defer g.cloud.Close()
		defer func() { g.kill(false) }()
		var l Login
		if err := l.BySession(t.Context(), g.Keeper, "http://127.0.0.1:8123/", "user=stale"); !errors.Is(err, ErrNoSession) {
			t.Errorf("a stale cookie: %v", err)
		}
		if err := l.BySession(t.Context(), g.Keeper, "http://127.0.0.1:8123/", "a\r\nX-Evil: 1"); err == nil {
			t.Error("a cookie of two lines was taken")
		}
		if err := l.BySession(t.Context(), g.Keeper, "http://127.0.0.1:8123/", signIn(t, g).Value); err != nil {
			t.Fatal(err)
		}
		if _, status, err := g.use(t.Context()); status != 200 {
			t.Errorf("got %d, %v", status, err)
		}
	})
}

func TestLoginsThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := atBACE(0)
		defer g.cloud.Close()
		g.rng, g.disk = rand.New(rand.NewPCG(1, 1)), powercut.New()
		g.boot(t)
		defer func() { g.kill(false) }()
		var l Login
		if _, _, err := l.Begin(g.Provider, ""); !errors.Is(err, ErrNoAuthorization) {
			t.Errorf("BACE: %v", err)
		}
		for _, answer := range []string{"", "%zz", "http://127.0.0.1:8123/?code=x", "http://127.0.0.1:8123/?state=y&code=x"} {
			if err := l.Finish(t.Context(), g.Keeper, answer); err == nil {
				t.Errorf("%q was taken", answer)
			}
		}
	})
}

// TestAPIKey: a key takes the place of a token; a replaced one is found when
// the old one is refused.
func TestAPIKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := atPlaceOS(0)
		defer g.cloud.Close()
		s := g.cloud.(*placeos.Server)
		s.AddKey(placeos.Key{ID: "key1", Secret: "abc", User: "me@example.com", Scopes: []string{"public"}, Expires: s.Now().Add(24 * time.Hour)})
		s.AddKey(placeos.Key{ID: "key2", Secret: "abc", User: "me@example.com", Scopes: []string{"public"}})
		var key atomic.Value
		key.Store("key1.abc")
		g.rng, g.disk = rand.New(rand.NewPCG(1, 1)), powercut.New()
		g.key = func() (string, error) { return key.Load().(string), nil }
		g.boot(t)
		defer func() { g.kill(false) }()
		if _, status, err := g.use(t.Context()); status != 200 {
			t.Fatalf("got %d, %v", status, err)
		}
		key.Store("key2.abc")
		time.Sleep(25 * time.Hour)
		if _, _, err := g.use(t.Context()); err != nil { // a 401 may be what tells
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if raw, status, err := g.use(t.Context()); raw != "key2.abc" || status != 200 {
			t.Errorf("got %q, %d, %v; want the new key", raw, status, err)
		}
	})
}
