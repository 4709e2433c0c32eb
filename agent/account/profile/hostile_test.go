package profile

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHostileAnswers(t *testing.T) {
	now := vendorDate
	for _, tt := range []struct{ name, profile, body, want string }{
		{"HTML", "beacon-tower", "\n<html>login to the wifi</html>", "an HTML page"},
		{"empty", "beacon-tower", "", "no JSON object"},
		{"cut short", "beacon-tower", `{"accessToken":"eyJ`, "no JSON object"},
		{"a list", "bace", `[1]`, "no JSON object"},
		{"null", "bace", `null`, "null instead"},
		{"a number for a token", "placeos", `{"access_token":5}`, "access_token is not a string"},
		{"a token that splits a header", "placeos", `{"access_token":"a\r\nX-Evil: 1"}`, "access_token is nothing that a header can carry"},
		{"a token too long", "placeos", `{"access_token":"` + strings.Repeat("a", MaxToken+1) + `"}`, "nothing that a header"},
		{"an answer too long", "placeos", strings.Repeat(" ", MaxBody+1), "larger than"},
		{"no token", "beamery", `{"token_type":"Bearer"}`, "access_token is missing"},
		{"another kind of token", "beamery", `{"access_token":"x","token_type":"mac"}`, `token_type is "mac"`},
		{"refresh not done", "bace", `{"refreshed":false,"expires":"2022-04-04 14:19:49"}`, "refreshed is not true"},
		{"a refresh token of another type", "bace", `{"access_token":"x","refresh_token":{"a":1}}`, "refresh_token is not a string"},
	} {
		_, err := of(t, tt.profile).Grant(Answer{Status: 200, Body: []byte(tt.body)}, true, now)
		if !errors.Is(err, ErrShape) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestExpiryFallsThroughToWhatMakesSense(t *testing.T) {
	now := vendorDate
	header := http.Header{"Date": {now.Format(http.TimeFormat)}}
	for _, tt := range []struct {
		name, profile string
		refresh       bool
		body          string
		want          time.Duration
		source        Source
	}{
		{"created an hour ago", "placeos", false, fmt.Sprintf(`{"access_token":"x","expires_in":7200,"created_at":%d}`, now.Add(-time.Hour).Unix()), time.Hour, CreatedAt},
		{"its clocks disagree", "placeos", false, fmt.Sprintf(`{"access_token":"x","expires_in":7200,"created_at":%d}`, now.Add(9*time.Hour).Unix()), 2 * time.Hour, ExpiresIn},
		{"in a string", "beamery", false, `{"access_token":"x","expires_in":"3600"}`, time.Hour, ExpiresIn},
		{"negative", "beamery", false, `{"access_token":"x","expires_in":-1}`, 0, None},
		{"a thousand years", "beamery", false, `{"access_token":"x","expires_in":31536000000}`, 0, None},
		{"not a number", "beamery", false, `{"access_token":"x","expires_in":"NaN"}`, 0, None},
		{"nothing at all", "beacon-tower", false, `{"accessToken":"opaque"}`, 0, None},
		{"a claim alone", "beacon-tower", false, `{"accessToken":"` + beaconJWT + `"}`, time.Hour, JWTExp},
		{"in UTC", "bace", true, `{"refreshed":true,"expires":"2022-04-04 12:19:50"}`, 14 * day, Absolute},
		{"at the end of the world", "bace", true, `{"refreshed":true,"expires":"2022-04-05 02:19:49"}`, 14 * day, Absolute},
		{"an hour ahead in Amsterdam", "bace", true, `{"refreshed":true,"expires":"2022-03-21 15:19:49"}`, leastLife, Absolute},
		{"three days ahead", "bace", true, `{"refreshed":true,"expires":"2022-03-24 12:30:49"}`, 58*time.Hour + 11*time.Minute, Absolute},
		{"long past", "bace", true, `{"refreshed":true,"expires":"2021-03-24 12:30:49"}`, 0, None},
		{"no date", "bace", true, `{"refreshed":true,"expires":"soon"}`, 0, None},
	} {
		g, err := of(t, tt.profile).Grant(Answer{Status: 200, Header: header, Body: []byte(tt.body)}, tt.refresh, time.Time{})
		if err != nil || g.Life != tt.want || g.Source != tt.source {
			t.Errorf("%s: got %v by %q, %v, want %v by %q", tt.name, g.Life, g.Source, err, tt.want, tt.source)
		}
	}
}

// TestDatesWithoutAZoneAreNeverBelievedTooLong: whatever zone the cloud writes
// its date in, the life that is read is not beyond the true one, but for the
// slack of a documented life.
func TestDatesWithoutAZoneAreNeverBelievedTooLong(t *testing.T) {
	p := of(t, "bace")
	rapid.Check(t, func(t *rapid.T) {
		now := vendorDate.Add(time.Duration(rapid.Int64Range(0, int64(365*day)).Draw(t, "now"))).Truncate(time.Second)
		life := time.Duration(rapid.Int64Range(int64(leastLife), int64(30*day)).Draw(t, "life")).Truncate(time.Minute)
		zone := time.FixedZone("", 900*rapid.IntRange(-48, 56).Draw(t, "zone"))
		g := p.untilAbsolute(now.Add(life).In(zone).Format(p.Layout), now)
		if g > life+zoneSlack && g != p.Refreshed {
			t.Fatalf("read %v of a life of %v", g, life)
		}
		if g == 0 {
			t.Fatalf("read nothing of a life of %v", life)
		}
	})
}

func TestRefusalsTellAndHide(t *testing.T) {
	p := of(t, "placeos")
	r, err := p.Request(p.Login, everything)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		a    Answer
		want string
		code string
	}{
		{"OAuth", Answer{Status: 400, Body: []byte(`{"error":"invalid_grant","error_description":"Invalid username and password combination"}`)},
			"POST /auth/oauth/token: 400 Bad Request: invalid_grant: Invalid username and password combination", "invalid_grant"},
		{"Yii", Answer{Status: 401, Body: []byte(`{"name":"Unauthorized","message":"Your request was made with invalid credentials.","code":0,"status":401,"type":"yii\\web\\UnauthorizedHttpException"}`)},
			"POST /auth/oauth/token: 401 Unauthorized: Unauthorized: Your request was made with invalid credentials.", ""},
		{"empty", Answer{Status: 403}, "POST /auth/oauth/token: 403 Forbidden", ""},
		{"HTML", Answer{Status: 502, Body: []byte("<h1>Bad gateway</h1>")}, "POST /auth/oauth/token: 502 Bad Gateway: an HTML page", ""},
		{"the password in the answer", Answer{Status: 400, Body: []byte(`{"error":"no your-password please"}`)}, "POST /auth/oauth/token: 400 Bad Request: no [redacted] please", ""},
		{"a token in the answer", Answer{Status: 400, Body: []byte("not " + beaconJWT)}, "POST /auth/oauth/token: 400 Bad Request: not [redacted]", ""},
	} {
		e := p.Refusal(r, tt.a, vendorDate)
		if e.Error() != tt.want || e.Code != tt.code {
			t.Errorf("%s: got %q, %q", tt.name, e.Error(), e.Code)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	for _, p := range table {
		for _, c := range []Call{p.Login, p.Code, p.Refresh, p.Probe, p.Retire} {
			if c.IsZero() {
				continue
			}
			r, err := p.Request(c, everything)
			if err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
			for _, secret := range []string{"your-password", "client-secret", "1281aaaa", "8a0baaaa"} {
				if text := fmt.Sprintf("%v %+v %#v %s", r, r, r, r); strings.Contains(text, secret) {
					t.Errorf("%s %s prints %q", p.Name, c.Path, secret)
				}
				if strings.Contains(Clean("it says "+string(r.Body), r.Secret), secret) {
					t.Errorf("%s %s: an error repeats %q", p.Name, c.Path, secret)
				}
			}
		}
	}
	g := Grant{Token: "8a0baaaa", Renewer: "1281aaaa"}
	if text := fmt.Sprintf("%v %+v %#v", g, g, g); strings.Contains(text, "aaaa") {
		t.Errorf("a grant prints as %s", text)
	}
}

func TestMissingValuesAreNamed(t *testing.T) {
	p := of(t, "bace")
	_, err := p.Request(p.Login, Values{Username: "u", ClientID: "c"})
	if err == nil || !strings.Contains(err.Error(), "client_secret and password") {
		t.Errorf("got %v", err)
	}
	if !p.CanLogin(everything) || p.CanLogin(Values{}) {
		t.Error("CanLogin is wrong")
	}
	if q := of(t, "oauth2").With("/connect/token", "/me", true); q.Login.Path != "/connect/token" || q.Refresh.Path != "/connect/token" || q.Probe.Path != "/me" || !q.Login.Uses(Password) {
		t.Errorf("got %+v", q)
	}
}

func FuzzGrant(f *testing.F) {
	for _, body := range []string{`{"accessToken":"` + beaconJWT + `"}`, `{"refreshed":true,"expires":"2022-04-04 14:19:49"}`,
		`{"access_token":"guxu05o","token_type":"bearer","expires_in":7200,"refresh_token":"CvUwMfso","scope":"public","created_at":1642051911}`, `<html>`, `{"access_token":"x","expires_in":1e999}`} {
		f.Add([]byte(body), "Mon, 21 Mar 2022 12:19:49 GMT")
	}
	f.Fuzz(func(t *testing.T, body []byte, date string) {
		for _, p := range table {
			g, err := p.Grant(Answer{Status: 200, Header: http.Header{"Date": {date}}, Body: body}, true, vendorDate)
			switch {
			case err != nil && len(err.Error()) > 1024:
				t.Errorf("an error of %d bytes", len(err.Error()))
			case err == nil && (g.Token == "" && !g.Extended || g.Token != "" && !carriable(g.Token) || g.Life < 0 || g.Life > maxLife):
				t.Errorf("%s: %v", p.Name, g)
			}
			if e := p.Refusal(Request{}, Answer{Status: 400, Header: http.Header{}, Body: body}, vendorDate); len(e.Error()) > 1024 || strings.ContainsAny(e.Error(), "\n\x1b") {
				t.Errorf("%s: %q", p.Name, e.Error())
			}
		}
	})
}

func FuzzWait(f *testing.F) {
	f.Add(429, "40;w=1", "1", "7", "")
	f.Add(200, "0", "1795348859", "", "Mon, 21 Mar 2022 12:19:49 GMT")
	f.Fuzz(func(t *testing.T, status int, remaining, reset, after, date string) {
		h := http.Header{"X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}, "Retry-After": {after}, "Date": {date}}
		for _, p := range table {
			if d := p.Limits.Wait(status, h, vendorDate); d < 0 || d > maxWait || status == 429 && d < minWait {
				t.Errorf("%s: %v", p.Name, d)
			}
		}
	})
}
