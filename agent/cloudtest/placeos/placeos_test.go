package placeos

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	. "github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host/hosttest"
)

const redirect = "https://localhost:8443/backoffice/oauth-resp.html"

func newServer(t *testing.T, opt Options) (*Server, *Caller) {
	t.Helper()
	s := New(opt)
	s.AddUser(User{Email: "user@email.com", Password: "pass", Name: "Gateway", Roles: []string{"edge"}})
	s.AddUser(User{Email: "service@account.com", Password: "developer", Support: true})
	s.AddUser(User{Email: "admin@account.com", Password: "root", Support: true, Admin: true})
	s.AddApplication(Application{ID: "public-app", Redirects: []string{redirect}, Scopes: []string{"public", "mqtt.read", "mqtt"}})
	s.AddApplication(Application{ID: "secret-app", Secret: "shh"})
	s.AddKey(Key{ID: "key1", Secret: "abc", User: "user@email.com", Scopes: []string{"public"}})
	s.AddKey(Key{ID: "key2", Secret: "abc", User: "user@email.com", Scopes: []string{"public"}, Expires: s.Now().Add(time.Hour)})
	return s, Of(t, s)
}

// password is the request of the vendor's page.
func password() map[string]string {
	return map[string]string{"grant_type": "password", "username": "user@email.com", "password": "pass", "client_id": "public-app", "scope": "public mqtt.read"}
}

func login(c *Caller) (access, refresh string) {
	a := c.Do("POST", "/auth/oauth/token", JSON(password())).Want(200)
	return a.Text("access_token"), a.Text("refresh_token")
}

func refreshing(refresh string) Part {
	return Form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", "public-app")
}

func pairs(m map[string]string) []string {
	var all []string
	for k, v := range m {
		all = append(all, k, v)
	}
	return all
}

func TestLoginOfTheVendorsPage(t *testing.T) {
	s, c := newServer(t, Options{})
	query := url.Values{}
	for k, v := range password() {
		query.Set(k, v)
	}
	for name, ask := range map[string]func() *Answer{
		"JSON":       func() *Answer { return c.Do("POST", "/auth/oauth/token", JSON(password())) },
		"urlencoded": func() *Answer { return c.Do("POST", "/auth/oauth/token", Form(pairs(password())...)) },
		"multipart":  func() *Answer { return c.Do("POST", "/auth/oauth/token", FormData(pairs(password())...)) },
		"query":      func() *Answer { return c.Do("POST", "/auth/oauth/token?"+query.Encode()) },
	} {
		t.Run(name, func(t *testing.T) {
			a := ask().Want(200, `"expires_in":7200`, `"scope":"public mqtt.read"`, `"token_type":"Bearer"`)
			v := a.Members("access_token", "token_type", "expires_in", "refresh_token", "scope", "created_at")
			claims := Claims(t, a.Text("access_token"))
			if claims["exp"].(float64) != v["created_at"].(float64)+7200 || claims["iat"] != v["created_at"] || claims["iss"] != "POS" || claims["aud"] != "127.0.0.1" {
				t.Errorf("got claims %v of %v", claims, v)
			}
			if u := claims["u"].(map[string]any); u["e"] != "user@email.com" || u["p"] != float64(0) || len(claims["scope"].([]any)) != 2 {
				t.Errorf("got claims %v", claims)
			}
		})
	}
	s.MustSet(FewerScopes, host.Times(1))
	c.Do("POST", "/auth/oauth/token", JSON(password())).Want(200, `"scope":"public"`)
}

func TestTokenCallErrors(t *testing.T) {
	_, c := newServer(t, Options{})
	_, refresh := login(c)
	with := func(name, value string) Part {
		m := password()
		if m[name] = value; value == "" {
			delete(m, name)
		}
		return Form(pairs(m)...)
	}
	for _, test := range []struct {
		name   string
		part   Part
		status int
		code   string
	}{
		{"unknown client", with("client_id", "x"), 401, "invalid_client"},
		{"no client", with("client_id", ""), 401, "invalid_client"},
		{"wrong password", with("password", "x"), 400, "invalid_grant"},
		{"scope of no application", with("scope", "public admin"), 400, "invalid_scope"},
		{"no grant", with("grant_type", ""), 400, "invalid_request"},
		{"another grant", with("grant_type", "client_credentials"), 400, "unsupported_grant_type"},
		{"confidential without its secret", with("client_id", "secret-app"), 401, "invalid_client"},
		{"no refresh token", refreshing(""), 400, "invalid_request"},
		{"unknown refresh token", refreshing("x"), 400, "invalid_grant"},
		{"refresh without a client", Form("grant_type", "refresh_token", "refresh_token", refresh), 400, "invalid_grant"},
		{"refresh by another client", Form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", "secret-app", "client_secret", "shh"), 401, "invalid_client"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := c.Do("POST", "/auth/oauth/token", test.part).Want(test.status)
			if got := a.Text("error"); got != test.code || !strings.Contains(a.Header.Get("WWW-Authenticate"), test.code) {
				t.Errorf("got %s, %v; want %s", a.Body, a.Header, test.code)
			}
		})
	}
	basic := Header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("secret-app:shh")))
	both := Form("grant_type", "password", "username", "user@email.com", "password", "pass", "client_id", "secret-app", "client_secret", "shh")
	c.Do("POST", "/auth/oauth/token", both).Want(200)
	c.Do("POST", "/auth/oauth/token", basic, Form("grant_type", "password", "username", "user@email.com", "password", "pass")).Want(200)
	c.Do("POST", "/auth/oauth/token", basic, both).Want(400, "invalid_request")
}

func TestRefreshTokenEndsWhenADescendantComesToTheAuthority(t *testing.T) {
	s, c := newServer(t, Options{})
	access, first := login(c)
	s.MustSet(host.LostAnswer, host.Times(1).On(OpToken))
	c.Do("POST", "/auth/oauth/token", refreshing(first)).Want(0)
	a := c.Do("POST", "/auth/oauth/token", refreshing(first)).Want(200, `"scope":"public mqtt.read"`)
	second := a.Text("refresh_token")
	c.Do("GET", "/api/engine/v2/users/current", Bearer(a.Text("access_token"))).Want(200) // does not end it
	c.Do("GET", "/auth/authority", Bearer(access)).Want(200, `"token_valid":true`)        // nor does an ancestor
	if !s.CanRefresh(first) {
		t.Error("the first refresh token has ended early")
	}
	c.Do("GET", "/auth/authority", Bearer(a.Text("access_token"))).Want(200, `"token_valid":true`)
	c.Do("POST", "/auth/oauth/token", refreshing(first)).Want(400, "invalid_grant")
	if !s.CanRefresh(second) || s.CanRefresh(first) || !s.Valid(access) {
		t.Error("want the second refresh token alone, and the first access token until its expiry")
	}
	c.Do("GET", "/auth/authority", Bearer("x")).Want(200, `"token_valid":false`)
	s.MustSet(RevokeAtOnce, host.Times(1))
	third := c.Do("POST", "/auth/oauth/token", refreshing(second)).Want(200).Text("refresh_token")
	c.Do("POST", "/auth/oauth/token", refreshing(second)).Want(400, "invalid_grant")
	s.MustSet(RefuseRefresh, host.Times(1))
	c.Do("POST", "/auth/oauth/token", refreshing(third)).Want(400, "invalid_grant")
	c.Do("POST", "/auth/oauth/revoke", Form("client_id", "x", "token", third)).Want(403, "unauthorized_client")
	c.Do("POST", "/auth/oauth/revoke?client_id=public-app", Form("token", "unknown")).Want(200, "{}")
	c.Do("POST", "/auth/oauth/revoke", Form("client_id", "public-app", "token", third)).Want(200, "{}")
	c.Do("POST", "/auth/oauth/token", refreshing(third)).Want(400, "invalid_grant")
}

func TestTokenIsGoodInTheSecondOfItsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t, Options{})
		access, refresh := login(c)
		time.Sleep(DefaultTokenLife + time.Second - time.Nanosecond)
		c.Do("GET", "/api/engine/v2/api_keys/inspect", Bearer(access)).Want(200)
		time.Sleep(time.Nanosecond)
		c.Do("GET", "/api/engine/v2/api_keys/inspect", Bearer(access)).Want(401, `{"error":"Signature is expired"}`)
		time.Sleep(3 * 365 * 24 * time.Hour)
		if c.Do("POST", "/auth/oauth/token", refreshing(refresh)).Want(200); s.Count(host.KindRenew) != 1 {
			t.Error("want a refresh token that does not age")
		}
	})
}

func TestWaysToSendTokenAndKey(t *testing.T) {
	s, c := newServer(t, Options{})
	access, _ := login(c)
	const path = "/api/engine/v2/api_keys/inspect"
	for name, part := range map[string][]Part{
		"header": {Bearer(access)}, "token": {Header("Authorization", "Token "+access)},
		"cookie": {Header("Cookie", "bearer_token="+access)}, "key": {Header("X-API-Key", "key1.abc")},
		"key cookie": {Header("Cookie", "api-key=key1.abc")},
		"a key wins": {Bearer("garbage"), Header("X-API-Key", "key1.abc")},
	} {
		t.Run(name, func(t *testing.T) { c.Do("GET", path, part...).Want(200, `"iss":"POS"`, "user@email.com") })
	}
	c.Do("GET", path+"?bearer_token="+access).Want(200, `"jti"`)
	c.Do("GET", path+"?api-key=key1.abc").Want(200)
	c.Do("GET", path+"?bearer_token="+access, Bearer("garbage")).Want(401, "Signature")
	c.Do("GET", path+"?api-key=key1.x", Bearer(access)).Want(401, "unknown X-API-Key")
	c.Do("GET", path).Want(401)
	s.SetOffset(2 * time.Hour)
	c.Do("GET", path, Header("X-API-Key", "key2.abc")).Want(401, "API key has expired")
	s.SetOffset(0)
	c.Do("GET", "/api/engine/v2/cluster", Bearer(access)).Want(403)
	if a := c.Do("GET", "/api/engine/v2/cluster", Bearer(access), Header("X-Request-ID", "mine")); a.Body != "" || a.Header.Get("X-Request-ID") != "mine" {
		t.Errorf("got %q, %v; want an empty body and the id back", a.Body, a.Header)
	}
	c.Do("GET", path, Bearer(access), func(r *http.Request) { r.Host = "other.example" }).Want(401, "authority domain does not match token's")
	s.LogOut("user@email.com")
	c.Do("GET", path, Bearer(access)).Want(401, `{"error":"logged out"}`)
	if s.Valid(access) {
		t.Error("a token from before the logout is valid")
	}
}

func TestAuthorizationCode(t *testing.T) {
	_, c := newServer(t, Options{})
	c.Do("POST", "/auth/signin?email=service@account.com&password=x").Want(401)
	a := c.Do("POST", "/auth/signin?email=service@account.com&password=developer").Want(202)
	cookies := strings.Join(a.Header.Values("Set-Cookie"), "\n")
	for _, want := range []string{"user=", "verified=", "Path=/auth", "Secure", "HttpOnly", "SameSite=None"} {
		if !strings.Contains(cookies, want) {
			t.Errorf("got cookies %q; want %s", cookies, want)
		}
	}
	if c.Do("POST", "/auth/signin?email=service@account.com&password=developer&continue=/backoffice").Want(303).Header.Get("Location") != "/backoffice" {
		t.Error("want a redirect to where it goes on")
	}
	cookie, _, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";")
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // of RFC 7636
	query := url.Values{"response_type": {"code"}, "client_id": {"public-app"}, "redirect_uri": {redirect}, "scope": {"public mqtt.read"}, "state": {"xyz"},
		"code_challenge_method": {"S256"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}}
	ask := func(cookie string) (*Answer, *url.URL) {
		a := c.Do("GET", "/auth/oauth/authorize?"+query.Encode(), Header("Cookie", cookie)).Want(303)
		u, err := url.Parse(a.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		return a, u
	}
	if _, u := ask("user=stale"); u.Path != "/auth/login" {
		t.Errorf("got %v; want the page that signs in", u)
	}
	_, u := ask(cookie)
	if !strings.HasPrefix(u.String(), redirect) || u.Query().Get("state") != "xyz" || u.Query().Get("code") == "" {
		t.Fatalf("got %v; want the redirect with code and state", u)
	}
	exchange := func(code, verifier string) *Answer {
		return c.Do("POST", "/auth/oauth/token", Form("grant_type", "authorization_code", "code", code, "client_id", "public-app", "redirect_uri", redirect, "code_verifier", verifier))
	}
	exchange(u.Query().Get("code"), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").Want(400, "invalid_grant")
	exchange(u.Query().Get("code"), verifier).Want(200, "public mqtt.read")
	exchange(u.Query().Get("code"), verifier).Want(400, "invalid_grant")
	query.Set("scope", "public admin")
	if _, u := ask(cookie); u.Query().Get("error") != "invalid_scope" {
		t.Errorf("got %v; want invalid_scope", u)
	}
	query.Set("redirect_uri", "https://evil.example")
	c.Do("GET", "/auth/oauth/authorize?"+query.Encode(), Header("Cookie", cookie)).Want(400)
	c.Do("GET", "/auth/logout", Header("Cookie", cookie)).Want(303)
}
