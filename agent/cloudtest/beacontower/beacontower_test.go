package beacontower

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	. "github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host/hosttest"
)

// sample is the request body of the vendor's page.
const sample = `{"username": "user@example.com", "password": "your-password"}`

func newServer(t *testing.T, opt Options) (*Server, *Caller) {
	t.Helper()
	s := New(opt)
	s.AddAccount(Account{Username: "user@example.com", Password: "your-password", APIKey: "your-api-key", Privileges: []string{"asset_management"}})
	s.AddAccount(Account{Username: "release@example.com", Password: "p", APIKey: "release-key", Privileges: []string{"firmware_management"}})
	return s, Of(t, s)
}

func TestLoginOfTheVendorsPage(t *testing.T) {
	s, c := newServer(t, Options{})
	a := c.Do("POST", "/auth/ropc", JSON(sample)).Want(200)
	a.Members("accessToken")
	token := a.Text("accessToken")
	if !strings.HasPrefix(token, "eyJhbGciOiJSUzI1NiIs") {
		t.Errorf("got %.30s; want the page's beginning", token)
	}
	c.Do("GET", "/assets", Bearer(token)).Want(200, "gateway-1")
	c.Do("GET", "/assets", Header("X-API-Key", "your-api-key")).Want(200)
	c.Do("GET", "/assets").Want(401)
	if !s.Valid(token) || s.Count(host.KindIssue) != 1 {
		t.Errorf("got valid %v and %d tokens made", s.Valid(token), s.Count(host.KindIssue))
	}
}

func TestLoginErrorsOfTheVendorsTable(t *testing.T) {
	_, c := newServer(t, Options{})
	for _, test := range []struct {
		name, method, path string
		part               Part
		status             int
	}{
		{"empty", "POST", "/auth/ropc", JSON(""), 400},
		{"no object", "POST", "/auth/ropc", JSON(`["user@example.com"]`), 400},
		{"null", "POST", "/auth/ropc", JSON(`null`), 400},
		{"garbage after it", "POST", "/auth/ropc", JSON(sample + "}"), 400},
		{"no password", "POST", "/auth/ropc", JSON(`{"username":"user@example.com"}`), 400},
		{"empty password", "POST", "/auth/ropc", JSON(`{"username":"user@example.com","password":""}`), 400},
		{"a number", "POST", "/auth/ropc", JSON(`{"username":"user@example.com","password":1}`), 400},
		{"a form", "POST", "/auth/ropc", Form("username", "user@example.com", "password", "your-password"), 400},
		{"wrong password", "POST", "/auth/ropc", JSON(`{"username":"user@example.com","password":"x"}`), 401},
		{"unknown user", "POST", "/auth/ropc", JSON(`{"username":"u","password":"your-password"}`), 401},
		{"another method", "GET", "/auth/ropc", JSON(""), 404},
		{"another path", "POST", "/auth/token", JSON(sample), 404},
		{"a prefix that is not there", "POST", "/v1/auth/ropc", JSON(sample), 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.Do(test.method, test.path, test.part).Want(test.status, `"error"`, `"message"`, `"details"`)
		})
	}
}

func TestPrefixIsOfEveryPath(t *testing.T) {
	_, c := newServer(t, Options{Prefix: "/v1"})
	token := c.Do("POST", "/v1/auth/ropc", JSON(sample)).Want(200).Text("accessToken")
	c.Do("GET", "/v1/assets", Bearer(token)).Want(200)
	c.Do("POST", "/auth/ropc", JSON(sample)).Want(404)
}

func TestTokenEndsAtItsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t, Options{})
		s.SetOffset(26 * time.Hour)
		first := c.Do("POST", "/auth/ropc", JSON(sample)).Text("accessToken")
		if exp := int64(Claims(t, first)["exp"].(float64)); exp != s.Now().Add(DefaultTokenLife).Unix() {
			t.Errorf("got exp %d; want it by the server's clock", exp)
		}
		time.Sleep(DefaultTokenLife - time.Nanosecond)
		c.Do("GET", "/assets", Bearer(first)).Want(200)
		second := c.Do("POST", "/auth/ropc", JSON(sample)).Text("accessToken")
		time.Sleep(time.Nanosecond)
		c.Do("GET", "/assets", Bearer(first)).Want(401)
		c.Do("GET", "/assets", Bearer(second)).Want(200)
	})
}

func TestPrivileges(t *testing.T) {
	s, c := newServer(t, Options{})
	c.Do("GET", "/assets", Header("X-API-Key", "release-key")).Want(403, "asset_management")
	key := Header("X-API-Key", "release-key")
	c.Do("POST", "/releases/upload", key, JSON("{}")).Want(415)
	c.Do("POST", "/releases/upload", key, FormData("other", "x")).Want(400)
	body := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"fw.bin\"\r\n\r\nfirmware\r\n--b--\r\n"
	c.Do("POST", "/releases/upload", key, Body("multipart/form-data; boundary=b", body)).
		Want(200, `"size":8`, `"filename":"fw.bin"`).Members("fileResourceId", "filename", "size", "contentType")
	token := c.Do("POST", "/auth/ropc", JSON(sample)).Text("accessToken")
	c.Do("POST", "/releases/upload", Bearer(token), FormData("file", "x")).Want(403)
	c.Do("GET", "/assets", Bearer(token), Header("X-API-Key", "your-api-key")).Want(400)
	s.MustSet(TakeBoth, host.Always)
	c.Do("GET", "/assets", Bearer(token), Header("X-API-Key", "your-api-key")).Want(200)
	s.Revoke(token)
	c.Do("GET", "/assets", Bearer(token)).Want(401)
}

func TestLimitOfTheHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t, Options{Limit: 3})
		key := Header("X-API-Key", "your-api-key")
		time.Sleep(20 * time.Minute)
		for left := 2; left >= 0; left-- {
			if a := c.Do("GET", "/assets", key).Want(200); a.Header.Get("X-RateLimit-Remaining") != strconv.Itoa(left) || a.Header.Get("X-RateLimit-Limit") != "3" {
				t.Errorf("got %v; want %d left of 3", a.Header, left)
			}
		}
		a := c.Do("GET", "/assets", key).Want(429)
		reset, _ := strconv.ParseInt(a.Header.Get("X-RateLimit-Reset"), 10, 64)
		if at := time.Unix(reset, 0); time.Until(at) != 40*time.Minute {
			t.Errorf("got a reset in %v; want the end of the hour", time.Until(at))
		}
		time.Sleep(40*time.Minute - time.Nanosecond)
		c.Do("GET", "/assets", key).Want(429)
		time.Sleep(time.Nanosecond)
		c.Do("GET", "/assets", key).Want(200)
		if s.Count(host.KindInside) != 1 {
			t.Errorf("got %d requests inside the closed window; want 1", s.Count(host.KindInside))
		}
	})
}

func TestFaultsOfTheLogin(t *testing.T) {
	s, c := newServer(t, Options{})
	login := func() string { return c.Do("POST", "/auth/ropc", JSON(sample)).Want(200).Text("accessToken") }
	old := login()
	s.MustSet(NoExpiry, host.Times(1))
	if _, has := Claims(t, login())["exp"]; has {
		t.Error("got exp; want none")
	}
	s.MustSet(FloatExpiry, host.Times(1))
	if exp := Claims(t, login())["exp"].(float64); exp == float64(int64(exp)) {
		t.Errorf("got exp %v; want a fraction", exp)
	}
	s.MustSet(PastExpiry, host.Times(1))
	if token := login(); int64(Claims(t, token)["exp"].(float64)) >= time.Now().Unix() || !s.Valid(token) {
		t.Error("want an exp in the past of a token that works")
	}
	s.MustSet(TokenClock, host.Times(1).With(-72*time.Hour))
	if token := login(); int64(Claims(t, token)["iat"].(float64)) > time.Now().Add(-71*time.Hour).Unix() || !s.Valid(token) {
		t.Error("want an iat of three days ago in a token that works")
	}
	for _, size := range []int{4096, 16384} {
		s.MustSet(LongToken, host.Times(1).With(size))
		if n := len(login()); n < size*9/10 || n > size*11/10 {
			t.Errorf("got a token of %d bytes; want about %d", n, size)
		}
	}
	if !s.Valid(old) {
		t.Error("the first token ended at a later login")
	}
	s.MustSet(KillOld, host.Times(1))
	if token := login(); s.Valid(old) || !s.Valid(token) {
		t.Error("want the last token alone to work")
	}
	bad := JSON(`{"username":"u","password":"p"}`)
	s.MustSet(LoginBody, host.Times(1).With("empty"))
	if a := c.Do("POST", "/auth/ropc", bad).Want(401); a.Body != "" {
		t.Errorf("got %q; want nothing", a.Body)
	}
	s.MustSet(LoginBody, host.Times(1).With("html"))
	c.Do("POST", "/auth/ropc", bad).Want(401, "<html>")
	s.MustSet(host.ServerError, host.Times(1).With(500))
	c.Do("POST", "/auth/ropc", JSON(sample)).Want(500)
	s.MustSet(host.LostAnswer, host.Times(1))
	before := s.Count(host.KindIssue)
	c.Do("POST", "/auth/ropc", JSON(sample)).Want(0)
	if s.Count(host.KindIssue) != before+1 {
		t.Error("the lost answer made no token")
	}
}
