package bace

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	. "github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host/hosttest"
)

var (
	// password is the request of the vendor's page.
	password = []string{"client_id", "c", "client_secret", "s", "grant_type", "password", "username", "me@example.com", "password", "p"}
	other    = []string{"client_id", "c", "client_secret", "s", "grant_type", "password", "username", "you@example.com", "password", "q"}
)

func newServer(t *testing.T) (*Server, *Caller) {
	t.Helper()
	s := New(Options{})
	s.AddAccount(Account{Username: "me@example.com", Password: "p", ClientID: "c", ClientSecret: "s"})
	s.AddAccount(Account{Username: "you@example.com", Password: "q", ClientID: "c", ClientSecret: "s"})
	return s, Of(t, s)
}

func login(c *Caller) (access, refresh string) {
	a := c.Do("POST", "/oauth2/token", FormData(password...)).Want(200)
	return a.Text("access_token"), a.Text("refresh_token")
}

func refreshing(refresh string) []string {
	return []string{"refresh_token", refresh, "client_secret", "s", "client_id", "c", "grant_type", "refresh_token"}
}

func TestLoginOfTheVendorsPage(t *testing.T) {
	s, c := newServer(t)
	a := c.Do("POST", "/oauth2/token", FormData(password...)).Want(200, `"scope":null`, `"expires_in":86400`, `"token_type":"Bearer"`)
	a.Members("access_token", "expires_in", "token_type", "scope", "refresh_token")
	if token := a.Text("access_token"); len(token) != 40 || !s.Valid(token) {
		t.Errorf("got %q; want 40 digits that work", token)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Pragma") != "no-cache" {
		t.Errorf("got headers %v", a.Header)
	}
	c.Do("GET", "/api/v2/physical-device", Bearer(a.Text("access_token")), Header("Content-Type", "application/json")).Want(200, "_meta")
}

func TestRefreshLetsTheSameTokenLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t)
		access, refresh := login(c)
		time.Sleep(DefaultTokenLife - time.Second)
		for range 3 {
			a := c.Do("POST", "/oauth2/token", Bearer(access), FormData(refreshing(refresh)...)).Want(200, `"refreshed":true`)
			a.Members("refreshed", "expires")
			want := time.Now().Add(DefaultExtended).UTC().Format("2006-01-02 15:04:05")
			if got := a.Text("expires"); got != want || s.Expires(access).UTC().Format(time.DateTime) != want {
				t.Errorf("got expires %q; want %q", got, want)
			}
			time.Sleep(DefaultExtended - time.Second)
		}
		time.Sleep(time.Second - time.Nanosecond)
		c.Do("GET", "/api/v2/group", Bearer(access)).Want(200)
		time.Sleep(time.Nanosecond)
		c.Do("GET", "/api/v2/group", Bearer(access)).Want(401)
		expired := c.Do("POST", "/oauth2/token", Bearer(access), FormData(refreshing(refresh)...))
		expired.Want(401, `yii\\web\\UnauthorizedHttpException`, "Your request was made with invalid credentials.")
		expired.Members("name", "message", "code", "status", "type")
		s.MustSet(RefreshExpired, host.Times(1))
		c.Do("POST", "/oauth2/token", Bearer(access), FormData(refreshing(refresh)...)).Want(200)
		c.Do("GET", "/api/v2/group", Bearer(access)).Want(200)
		if s.Count(host.KindIssue) != 1 || len(s.Times(host.KindIssue)) != 1 || s.Count(host.KindRenew) != 4 {
			t.Errorf("got counts %v; want 1 issue and 4 renewals", s.Counts())
		}
	})
}

func TestTokenCallErrors(t *testing.T) {
	_, c := newServer(t)
	access, refresh := login(c)
	his := c.Do("POST", "/oauth2/token", FormData(other...)).Want(200).Text("access_token")
	without := func(name string) []string {
		var rest []string
		for i := 0; i < len(password); i += 2 {
			if password[i] != name {
				rest = append(rest, password[i], password[i+1])
			}
		}
		return rest
	}
	with := func(name, value string) []string { return append(without(name), name, value) }
	for _, test := range []struct {
		name   string
		parts  []Part
		status int
		text   string
	}{
		{"no client id", []Part{FormData(without("client_id")...)}, 400, "invalid_client"},
		{"no client secret", []Part{FormData(without("client_secret")...)}, 400, "invalid_client"},
		{"wrong client secret", []Part{FormData(with("client_secret", "x")...)}, 400, "invalid_client"},
		{"no grant", []Part{FormData(without("grant_type")...)}, 400, "invalid_request"},
		{"another grant", []Part{FormData(with("grant_type", "client_credentials")...)}, 400, "unsupported_grant_type"},
		{"no user name", []Part{FormData(without("username")...)}, 400, "invalid_request"},
		{"no password", []Part{FormData(without("password")...)}, 400, "invalid_request"},
		{"wrong password", []Part{FormData(with("password", "x")...)}, 401, "Invalid username and password combination"},
		{"JSON", []Part{JSON(`{"grant_type":"password"}`)}, 400, "invalid_request"},
		{"no boundary", []Part{Body("multipart/form-data", "x")}, 400, "boundary"},
		{"broken form data", []Part{Body("multipart/form-data; boundary=b", "x")}, 400, "invalid_request"},
		{"refresh without a bearer", []Part{FormData(refreshing(refresh)...)}, 401, "yii"},
		{"refresh with a wrong bearer", []Part{Bearer("x"), FormData(refreshing(refresh)...)}, 401, "yii"},
		{"refresh with Basic credentials", []Part{Header("Authorization", "Basic Yzpz"), FormData(refreshing(refresh)...)}, 401, "yii"},
		{"refresh of another's bearer", []Part{Bearer(his), FormData(refreshing(refresh)...)}, 400, "Invalid refresh token"},
		{"refresh with a wrong refresh token", []Part{Bearer(access), FormData(refreshing("x")...)}, 400, "Invalid refresh token"},
		{"refresh with a wrong client", []Part{Bearer(access), FormData("refresh_token", refresh, "client_id", "c", "client_secret", "x", "grant_type", "refresh_token")}, 400, "invalid_client"},
	} {
		t.Run(test.name, func(t *testing.T) { c.Do("POST", "/oauth2/token", test.parts...).Want(test.status, test.text) })
	}
	if a := c.Do("GET", "/oauth2/token").Want(405); a.Header.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("got Allow %q", a.Header.Get("Allow"))
	}
	c.Do("GET", "/nothing").Want(404, `yii\\web\\NotFoundHttpException`)
}

func TestUnauthorizedMayMeanForbidden(t *testing.T) {
	_, c := newServer(t)
	access, _ := login(c)
	forbidden := c.Do("GET", "/api/v2/data/index", Bearer(access)).Want(401)
	if expired := c.Do("GET", "/api/v2/data/index", Bearer("x")).Want(401); expired.Body != forbidden.Body {
		t.Errorf("got %q and %q; want one body for both", expired.Body, forbidden.Body)
	}
	a := c.Do("HEAD", "/api/v2/group?page=2&per-page=5", Bearer(access)).Want(200)
	for name, want := range map[string]string{"current-page": "2", "per-page": "5", "page-count": "1", "total-count": "1"} {
		if got := a.Header.Get("x-pagination-" + name); got != want {
			t.Errorf("got x-pagination-%s %q; want %s", name, got, want)
		}
	}
	c.Do("GET", "/api/v2/physical-device/1/ping", Bearer(access)).Want(401)
}

func TestZoneOfExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t)
		access, refresh := login(c)
		// The page's own sample: 2022-04-04 14:19:49, here by the clock of Amsterdam.
		sample := time.Date(2022, 4, 4, 12, 19, 49, 0, time.UTC)
		s.SetOffset(time.Until(sample.Add(-DefaultExtended)))
		s.Put(access, s.accounts[0], sample)
		for zone, want := range map[string]string{"Europe/Amsterdam": "2022-04-04 14:19:49", "UTC": "2022-04-04 12:19:49", "-3h30m": "2022-04-04 08:49:49"} {
			s.MustSet(Zone, host.Times(1).With(zone))
			a := c.Do("POST", "/oauth2/token", Bearer(access), FormData(refreshing(refresh)...)).Want(200)
			if got := a.Text("expires"); got != want {
				t.Errorf("%s: got %q; want %q", zone, got, want)
			}
			if date := a.Header.Get("Date"); !strings.HasPrefix(date, "Mon, 21 Mar 2022 12:19:49") {
				t.Errorf("got Date %q", date)
			}
		}
		if err := s.Set(Zone, host.Always.With("Mars/Olympus")); err == nil {
			t.Error("a zone that is nowhere was taken")
		}
	})
}

func TestFaultsOfTheTokenCall(t *testing.T) {
	s, c := newServer(t)
	access, refresh := login(c)
	again := func() *Answer {
		return c.Do("POST", "/oauth2/token", Bearer(access), FormData(refreshing(refresh)...))
	}
	c.Do("POST", "/oauth2/token", Form(password...)).Want(200)
	s.MustSet(FormDataOnly, host.Times(1))
	c.Do("POST", "/oauth2/token", Form(password...)).Want(400)
	s.MustSet(TakeJSON, host.Times(1))
	c.Do("POST", "/oauth2/token", JSON(map[string]string{"client_id": "c", "client_secret": "s", "grant_type": "password", "username": "me@example.com", "password": "p"})).Want(200)
	s.MustSet(NotRefreshed, host.Times(1))
	before := s.Expires(access)
	again().Want(200, `{"refreshed":false}`)
	if !s.Expires(access).Equal(before) {
		t.Error("a refresh that was none moved the expiry")
	}
	s.MustSet(ShortRefresh, host.Times(1).With("1h"))
	again().Want(200)
	if left := s.Expires(access).Sub(s.Now()); left > time.Hour || left < 59*time.Minute {
		t.Errorf("got a life of %v; want an hour", left)
	}
	s.MustSet(RefreshOnce, host.Times(1))
	again().Want(400, "Invalid refresh token")
	s.MustSet(RefreshAges, host.Times(1).With("0s"))
	again().Want(400, "Refresh token has expired")
	s.MustSet(YiiErrors, host.Times(1))
	c.Do("POST", "/oauth2/token", FormData("grant_type", "x")).Want(400, `yii\\web\\BadRequestHttpException`).Members("name", "message", "code", "status", "type")
	s.MustSet(host.LostAnswer, host.Times(1).On(OpRefresh))
	c.Do("POST", "/oauth2/token", FormData(password...)).Want(200)
	again().Want(0)
	if left := s.Expires(access).Sub(s.Now()); left < 13*24*time.Hour {
		t.Errorf("got a life of %v; want the refresh done whose answer was lost", left)
	}
	s.MustSet(KillOld, host.Times(1))
	c.Do("POST", "/oauth2/token", FormData(password...)).Want(200)
	if s.Valid(access) {
		t.Error("the earlier token still works")
	}
}
