package beamery

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	. "github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host/hosttest"
)

// sample is the request body of the vendor's page.
const sample = `{
    "clientId": "your_client_id",
    "clientSecret": "your_client_secret"
  }`

func newServer(t *testing.T, opt Options) (*Server, *Caller) {
	t.Helper()
	s := New(opt)
	s.AddClient(Client{ID: "your_client_id", Secret: "your_client_secret", Roles: []string{"admin", "user"}, Permissions: []string{"read:tasks", "write:tasks"}})
	return s, Of(t, s)
}

func login(c *Caller) string {
	return c.Do("POST", "/v1/oauth/token", JSON(sample)).Want(200).Text("access_token")
}

func TestLoginOfTheVendorsPage(t *testing.T) {
	s, c := newServer(t, Options{})
	a := c.Do("POST", "/v1/oauth/token", JSON(sample)).Want(200, `"token_type":"Bearer"`, `"expires_in":3600`)
	a.Members("access_token", "token_type", "expires_in")
	token := a.Text("access_token")
	if head, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0]); string(head) != `{"alg":"HS256","typ":"JWT"}` {
		t.Errorf("got a token of %s", head)
	}
	c.Do("GET", "/v1/oauth/token/permissions", Bearer(token)).
		Want(200, `["admin","user"]`, `["read:tasks","write:tasks"]`).Members("roles", "permissions")
	c.Do("GET", "/v1/tasks", Bearer(token)).Want(200)
	c.Do("GET", "/v1/skills", Bearer(token)).Want(403)
	c.Do("GET", "/v1/tasks").Want(401)
	c.Do("GET", "/nothing").Want(404)
	if second := login(c); second == token || !s.Valid(token) || !s.Valid(second) {
		t.Error("want two tokens that both work")
	}
	s.MustSet(KillOld, host.Times(1))
	if third := login(c); s.Valid(token) || !s.Valid(third) {
		t.Error("want the last token alone to work")
	}
}

func TestLoginRefusesStandardOAuth(t *testing.T) {
	s, c := newServer(t, Options{})
	for _, test := range []struct {
		name   string
		part   Part
		status int
	}{
		{"a form", Form("clientId", "your_client_id", "clientSecret", "your_client_secret"), 415},
		{"no JSON", JSON("{"), 415},
		{"snake case", JSON(`{"client_id":"your_client_id","client_secret":"your_client_secret","grant_type":"client_credentials"}`), 400},
		{"a number", JSON(`{"clientId":1,"clientSecret":"your_client_secret"}`), 400},
		{"wrong secret", JSON(`{"clientId":"your_client_id","clientSecret":"x"}`), 401},
		{"unknown client", JSON(`{"clientId":"x","clientSecret":"your_client_secret"}`), 401},
	} {
		t.Run(test.name, func(t *testing.T) { c.Do("POST", "/v1/oauth/token", test.part).Want(test.status, "message") })
	}
	s.MustSet(BadType400, host.Times(1))
	c.Do("POST", "/v1/oauth/token", Form("a", "b")).Want(400)
	s.MustSet(ErrorBody, host.Times(1).With("empty"))
	if a := c.Do("POST", "/v1/oauth/token", JSON("{}")).Want(400); a.Body != "" {
		t.Errorf("got %q; want nothing", a.Body)
	}
	s.MustSet(ErrorBody, host.Times(1).With("text"))
	if a := c.Do("POST", "/v1/oauth/token", JSON("{}")).Want(400, "clientId"); strings.Contains(a.Body, "{") {
		t.Errorf("got %q; want text", a.Body)
	}
}

func TestTokenEndsAtItsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := newServer(t, Options{})
		token := login(c)
		time.Sleep(DefaultTokenLife - time.Nanosecond)
		c.Do("GET", "/v1/oauth/token/permissions", Bearer(token)).Want(200)
		time.Sleep(time.Nanosecond)
		c.Do("GET", "/v1/oauth/token/permissions", Bearer(token)).Want(401)
	})
}

// rates are the three headers, as they came over the wire.
func rates(a *Answer) string {
	return strings.Join([]string{a.Header.Get("x-ratelimit-reset"), a.Header.Get("x-ratelimit-remaining"), a.Header.Get("x-ratelimit-limit")}, " ")
}

func TestHeadersOfTheVendorsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := newServer(t, Options{})
		token := login(c)
		var a *Answer
		for range 16 {
			a = c.Do("GET", "/v1/tasks", Bearer(token)).Want(200)
		}
		if got := rates(a); got != "1 24 40;w=1" {
			t.Errorf("got %q; want the page's sample", got)
		}
		if got := rates(c.Do("GET", "/nothing").Want(404)); got != "1 23 40;w=1" {
			t.Errorf("got %q; want the headers on errors too", got)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t, Options{})
		for range DefaultAuthLimit {
			c.Do("POST", "/v1/oauth/token", JSON(sample)).Want(200)
		}
		if got := rates(c.Do("POST", "/v1/oauth/token", JSON(sample)).Want(429)); got != "1 0 30;w=1" {
			t.Errorf("got %q", got)
		}
		c.Do("GET", "/v1/tasks").Want(401) // another budget
		time.Sleep(400 * time.Millisecond)
		c.Do("POST", "/v1/oauth/token", JSON(sample)).Want(429)
		time.Sleep(time.Second)
		token := login(c)
		s.MustSet(NoisyNeighbour, host.Times(1).With(40))
		c.Do("GET", "/v1/tasks", Bearer(token)).Want(429)
		c.Do("GET", "/v1/tasks", Bearer(token)).Want(200)
		time.Sleep(time.Second)
		s.MustSet(RemainingZero, host.Times(1))
		if got := rates(c.Do("GET", "/v1/tasks", Bearer(token)).Want(200)); got != "1 0 40;w=1" {
			t.Errorf("got %q; want 0 left", got)
		}
		if got := s.Count(host.KindInside); got != 1 {
			t.Errorf("got %d requests inside a window; want the one so far", got)
		}
		time.Sleep(999 * time.Millisecond)
		c.Do("GET", "/v1/oauth/token/permissions", Bearer(token)).Want(200)
		time.Sleep(time.Millisecond)
		c.Do("GET", "/v1/tasks", Bearer(token)).Want(200)
		if got := s.Count(host.KindInside); got != 2 {
			t.Errorf("got %d requests inside a window; want 2", got)
		}
		if at := s.Arrivals(OpLogin); len(at) != DefaultAuthLimit+3 {
			t.Errorf("got %d arrivals", len(at))
		}
	})
}
