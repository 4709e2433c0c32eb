package profile

import (
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// everything fills every call.
var everything = Values{
	Username: "user@example.com", Password: "your-password", ClientID: "7976a25be", ClientSecret: "client-secret",
	Scope: "public mqtt.read", RefreshToken: "1281aaaa", Token: "8a0baaaa", CPUID: "cpu", UUID: "uuid-1",
	Code: "tB2AUQQ8KXm", RedirectURI: "https://localhost:8443/backoffice/oauth-resp.html", Verifier: "verifier",
}

func of(t *testing.T, name string) Profile {
	t.Helper()
	p, ok := ByName(name)
	if !ok {
		t.Fatalf("no profile %s", name)
	}
	return p
}

// fields reads a body back as a server would.
func fields(t *testing.T, r Request) map[string]string {
	t.Helper()
	got := map[string]string{}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	switch kind {
	case "application/json":
		if err := json.Unmarshal(r.Body, &got); err != nil {
			t.Fatal(err)
		}
	case "application/x-www-form-urlencoded":
		v, err := url.ParseQuery(string(r.Body))
		if err != nil {
			t.Fatal(err)
		}
		for k := range v {
			got[k] = v.Get(k)
		}
	case "multipart/form-data":
		for m := multipart.NewReader(strings.NewReader(string(r.Body)), params["boundary"]); ; {
			part, err := m.NextPart()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(part)
			got[part.FormName()] = string(b)
		}
	}
	return got
}

// TestRequestsOfTheVendorsPages compares each call with what the vendor's page
// shows.
func TestRequestsOfTheVendorsPages(t *testing.T) {
	for _, tt := range []struct {
		profile, call string
		of            func(Profile) Call
		encoding      string
		fields        map[string]string
		authorization string
	}{
		{"beacon-tower", "POST /auth/ropc", func(p Profile) Call { return p.Login }, "application/json",
			map[string]string{"username": "user@example.com", "password": "your-password"}, ""},
		{"bace", "POST /oauth2/token", func(p Profile) Call { return p.Login }, "multipart/form-data",
			map[string]string{"client_id": "7976a25be", "client_secret": "client-secret", "grant_type": "password", "username": "user@example.com", "password": "your-password"}, ""},
		{"bace", "POST /oauth2/token", func(p Profile) Call { return p.Refresh }, "multipart/form-data",
			map[string]string{"refresh_token": "1281aaaa", "client_secret": "client-secret", "client_id": "7976a25be", "grant_type": "refresh_token"}, "Bearer 8a0baaaa"},
		{"placeos", "POST /auth/oauth/token", func(p Profile) Call { return p.Login }, "application/x-www-form-urlencoded",
			map[string]string{"grant_type": "password", "username": "user@example.com", "password": "your-password", "client_id": "7976a25be", "client_secret": "client-secret", "scope": "public mqtt.read"}, ""},
		{"placeos", "POST /auth/oauth/token", func(p Profile) Call { return p.Code }, "application/x-www-form-urlencoded",
			map[string]string{"grant_type": "authorization_code", "code": "tB2AUQQ8KXm", "client_id": "7976a25be", "client_secret": "client-secret", "redirect_uri": "https://localhost:8443/backoffice/oauth-resp.html", "code_verifier": "verifier"}, ""},
		{"beamery", "POST /v1/oauth/token", func(p Profile) Call { return p.Login }, "application/json",
			map[string]string{"clientId": "7976a25be", "clientSecret": "client-secret"}, ""},
		{"spoke-zone-user", "POST /login", func(p Profile) Call { return p.Login }, "application/json",
			map[string]string{"username": "user@example.com", "password": "your-password"}, ""},
		{"spoke-zone", "POST /loginDevice", func(p Profile) Call { return p.Refresh }, "application/json",
			map[string]string{"token": "8a0baaaa", "cpu_id": "cpu", "uuid": "uuid-1"}, ""},
		{"oauth2", "POST /oauth/token", func(p Profile) Call { return p.Login }, "application/x-www-form-urlencoded",
			map[string]string{"grant_type": "client_credentials", "client_id": "7976a25be", "client_secret": "client-secret", "scope": "public mqtt.read"}, ""},
	} {
		t.Run(tt.profile+" "+tt.call, func(t *testing.T) {
			p := of(t, tt.profile)
			r, err := p.Request(tt.of(p), everything)
			if err != nil {
				t.Fatal(err)
			}
			if r.String() != tt.call || !strings.HasPrefix(r.Header.Get("Content-Type"), tt.encoding) || r.Header.Get("Authorization") != tt.authorization {
				t.Errorf("got %s, %v", r, r.Header)
			}
			got := fields(t, r)
			if len(got) != len(tt.fields) {
				t.Errorf("got fields %v, want %v", got, tt.fields)
			}
			for name, want := range tt.fields {
				if got[name] != want {
					t.Errorf("%s: got %q, want %q", name, got[name], want)
				}
			}
		})
	}
}

const (
	beaconJWT  = "eyJhbGciOiJSUzI1NiJ9.eyJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMzYwMH0.c2ln" // iat 1700000000, exp an hour later
	beameryJWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln"
)

var vendorDate = time.Date(2022, 3, 21, 12, 19, 49, 0, time.UTC)

// TestAnswersOfTheVendorsPages reads the samples of the pages, as JSON where
// the page puts prose between.
func TestAnswersOfTheVendorsPages(t *testing.T) {
	for _, tt := range []struct {
		name, profile string
		refresh       bool
		date          time.Time
		body          string
		want          Grant
	}{
		{"Beacon Tower", "beacon-tower", false, vendorDate, `{"accessToken": "` + beaconJWT + `"}`,
			Grant{Token: beaconJWT, Life: time.Hour, Source: JWTExp}},
		{"Beacon Tower, opaque", "beacon-tower", false, vendorDate, `{"accessToken": "eyJhbGciOiJSUzI1NiIs..."}`,
			Grant{Token: "eyJhbGciOiJSUzI1NiIs..."}},
		{"BACE", "bace", false, vendorDate, `{"access_token":"8a0b...","expires_in":86400,"token_type":"Bearer","scope":null,"refresh_token":"1281..."}`,
			Grant{Token: "8a0b...", Renewer: "1281...", Life: 24 * time.Hour, Source: ExpiresIn}},
		{"BACE refresh in summer time", "bace", true, vendorDate, `{"refreshed": true, "expires": "2022-04-04 14:19:49"}`,
			Grant{Life: 14 * day, Source: Absolute, Extended: true}},
		{"PlaceOS", "placeos", false, time.Unix(1642051911, 0), `{"access_token":"guxu05o","token_type":"bearer","expires_in":7200,"refresh_token":"CvUwMfso","scope":"public","created_at":1642051911}`,
			Grant{Token: "guxu05o", Renewer: "CvUwMfso", Life: 2 * time.Hour, Source: CreatedAt, Scope: []string{"public"}}},
		{"Beamery", "beamery", false, vendorDate, `{"access_token":"` + beameryJWT + `","token_type":"Bearer","expires_in":3600}`,
			Grant{Token: beameryJWT, Life: time.Hour, Source: ExpiresIn}},
		{"Spoke Zone", "spoke-zone", true, vendorDate, `{"token":"` + beaconJWT + `"}`,
			Grant{Token: beaconJWT, Life: time.Hour, Source: JWTExp}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := Answer{Status: 200, Header: http.Header{"Date": {tt.date.UTC().Format(http.TimeFormat)}}, Body: []byte(tt.body)}
			got, err := of(t, tt.profile).Grant(a, tt.refresh, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Token != tt.want.Token || got.Renewer != tt.want.Renewer || got.Life != tt.want.Life || got.Source != tt.want.Source ||
				got.Extended != tt.want.Extended || strings.Join(got.Scope, " ") != strings.Join(tt.want.Scope, " ") {
				t.Errorf("got %+v, token %q, %v by %q", got, got.Token, got.Life, got.Source)
			}
		})
	}
	g := Grant{Scope: []string{"public"}}
	if short := g.Short("public mqtt.read"); strings.Join(short, " ") != "mqtt.read" {
		t.Errorf("PlaceOS's sample grants less than it was asked: got %q missing", short)
	}
}

// TestRateLimitDialects reads the vendors' headers.
func TestRateLimitDialects(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	beamery, beacon := of(t, "beamery").Limits, of(t, "beacon-tower").Limits
	header := func(pairs ...string) http.Header {
		h := http.Header{"Date": {now.Format(http.TimeFormat)}}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	for _, tt := range []struct {
		name   string
		limits Limits
		status int
		header http.Header
		want   time.Duration
	}{
		{"the page's sample", beamery, 200, header("x-ratelimit-reset", "1", "x-ratelimit-remaining", "24", "x-ratelimit-limit", "40;w=1"), 0},
		{"none remain", beamery, 200, header("x-ratelimit-reset", "3", "x-ratelimit-remaining", "0"), 3 * time.Second},
		{"remaining with parameters", beamery, 200, header("x-ratelimit-reset", "3", "x-ratelimit-remaining", "0;w=1, 900;w=3600"), 3 * time.Second},
		{"429 without headers", beamery, 429, header(), time.Second},
		{"429 and a reset of 0", beamery, 429, header("x-ratelimit-reset", "0"), time.Second},
		{"an error that says nothing of it", beamery, 500, header("x-ratelimit-remaining", "3"), 0},
		{"since 1970", beacon, 429, header("x-ratelimit-reset", "1795348859"), 60 * time.Second},
		{"since 1970 and past", beacon, 429, header("x-ratelimit-reset", "1795340000"), time.Second},
		{"none remain, which is no rule there", beacon, 200, header("x-ratelimit-reset", "1795348859", "x-ratelimit-remaining", "0"), 0},
		{"far away", beacon, 429, header("x-ratelimit-reset", "1895348859"), time.Hour},
		{"retry-after", beacon, 429, header("retry-after", "7"), 7 * time.Second},
		{"retry-after, a date", beacon, 429, header("retry-after", now.Add(9*time.Second).Format(http.TimeFormat)), 9 * time.Second},
		{"503 with retry-after", beamery, 503, header("retry-after", "5"), 5 * time.Second},
		{"503 without", beamery, 503, header(), 0},
		{"garbage", beamery, 429, header("x-ratelimit-reset", "NaN"), time.Second},
		{"below zero", beamery, 429, header("x-ratelimit-reset", "-5"), time.Second},
	} {
		if got := tt.limits.Wait(tt.status, tt.header, now.Add(time.Hour)); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
