package cloudtest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"
)

const hour = time.Hour

func TestLoginFollowsTheTokensAge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		left   time.Duration
		status int
	}{
		{"a new token", 7 * 24 * hour, 200},
		{"a second before the window", 12*hour + time.Second, 200},
		{"at the first moment of the window", 12 * hour, 201},
		{"a second before expiry", time.Second, 201},
		{"at expiry", 0, 201},
		{"at the last moment of the grace", -12 * hour, 201},
		{"a second after the grace", -12*hour - time.Second, 401},
		{"a year late", -365 * 24 * hour, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Options{})
				g.token = g.cloud.Issue(g.ID, tt.left)
				if tt.left == 0 {
					g.token = g.cloud.Issue(g.ID, time.Hour)
					time.Sleep(time.Hour)
				}
				a := g.login()
				a.want(t, tt.status)
				token, given := a.object(t)["token"]
				if given != (tt.status == 201) || given && token == g.token {
					t.Errorf("got body %s; want a new token with 201 and none otherwise", a.Body)
				}
				logins := g.cloud.Logins()
				if len(logins) != 1 || logins[0].Status != tt.status || logins[0].Token != g.token {
					t.Errorf("got logins %+v; want the one that was made", logins)
				}
			})
		})
	}
}

// The reference answer to a login with more than 12 h left has two fields.
func TestLoginSaysThatTheTokenIsValid(t *testing.T) {
	g := newGateway(t, Options{})
	a := g.login()
	a.want(t, 200)
	if o := a.object(t); o["status"] != "ok" || o["message"] != "Token is valid" || len(o) != 2 {
		t.Errorf("got %s", a.Body)
	}
}

func TestJudge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := time.Duration(rapid.Int64Range(0, int64(24*hour)).Draw(t, "window"))
		grace := time.Duration(rapid.Int64Range(0, int64(24*hour)).Draw(t, "grace"))
		left := time.Duration(rapid.Int64Range(-int64(72*hour), int64(72*hour)).Draw(t, "left"))
		got := Judge(left, window, grace)
		want := Renewed
		if left > window {
			want = StillValid
		}
		if left < 0 && left+grace < 0 {
			want = TooLate
		}
		if got != want {
			t.Fatalf("Judge(%v, %v, %v) = %v; want %v", left, window, grace, got, want)
		}
	})
}

func TestLoginRefusesWhatIsMissingOrWrong(t *testing.T) {
	g := newGateway(t, Options{})
	other := g.cloud.AddDevice(Device{})
	good := map[string]any{"token": g.token, "cpu_id": g.CPUID, "uuid": g.UUID}
	for _, tt := range []struct {
		name, field string
		value       any // nil leaves it out
	}{
		{"no token", "token", nil},
		{"no cpu_id", "cpu_id", nil},
		{"no uuid", "uuid", nil},
		{"empty token", "token", ""},
		{"token of another type", "token", 7},
		{"token of nobody", "token", "a.b.c"},
		{"cpu_id of another device", "cpu_id", other.CPUID},
		{"uuid of another device", "uuid", other.UUID},
		{"token of another device", "token", g.cloud.Issue(other.ID, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fields := map[string]any{}
			for k, v := range good {
				fields[k] = v
			}
			fields[tt.field] = tt.value
			if tt.value == nil {
				delete(fields, tt.field)
			}
			body, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			g.post("/loginDevice", string(body)).want(t, 400, "message")
		})
	}
	t.Run("camelCase", func(t *testing.T) {
		body := strings.Replace(`{"token":"T","cpuId":"C","uuid":"U"}`, "T", g.token, 1)
		g.post("/loginDevice", body).want(t, 400, "cpu_id")
	})
	t.Run("not JSON", func(t *testing.T) { g.post("/loginDevice", "token=x").want(t, 400) })
	t.Run("form data", func(t *testing.T) {
		g.do("POST", "/loginDevice", strings.NewReader("token="+g.token), "Content-Type", "application/x-www-form-urlencoded").
			want(t, 400, "application/json")
	})
}

func TestLoginNeedsNoHeader(t *testing.T) {
	g := newGateway(t, Options{})
	body, _ := json.Marshal(map[string]string{"token": g.token, "cpu_id": g.CPUID, "uuid": g.UUID})
	g.do("POST", "/loginDevice", strings.NewReader(string(body)), "Content-Type", "application/json", "X-Access-Token", "").want(t, 200)
}

func TestRenewedTokenWorksAndTheOldOneToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Options{})
		old := g.token
		time.Sleep(6*24*hour + 13*hour)
		g.token = g.login().object(t)["token"].(string)
		g.get("/api/v2/ota-files").want(t, 200)
		g.token = old
		g.get("/api/v2/ota-files").want(t, 200)
		time.Sleep(12 * hour)
		g.get("/api/v2/ota-files").want(t, 401)
	})
}

func TestShapesOfTokens(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape Shape
		want  map[string]any
	}{
		{"default", Shape{}, map[string]any{"deviceId": 123.0, "prefix": "mrs/d/123"}},
		{"id as a string", Shape{IDString: true}, map[string]any{"deviceId": "123"}},
		{"other names", Shape{IDClaim: "sub", PrefixClaim: "mqtt_prefix"}, map[string]any{"sub": 123.0, "mqtt_prefix": "mrs/d/123", "deviceId": nil}},
		{"only a root", Shape{Prefix: "mrs"}, map[string]any{"prefix": "mrs"}},
		{"no claims", Shape{IDClaim: "-", PrefixClaim: "-", NoIssuedAt: true}, map[string]any{"deviceId": nil, "prefix": nil, "iat": nil}},
		{"no expiry", Shape{Expiry: "none"}, map[string]any{"exp": nil}},
		{"expiry with a fraction", Shape{Expiry: "float"}, map[string]any{"exp": 946771200.25}},
		{"expiry", Shape{}, map[string]any{"exp": 946771200.0, "iat": 946684800.0}},
		{"further claims", Shape{Extra: map[string]any{"oem_id": 4}}, map[string]any{"oem_id": 4.0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := New(Options{})
				defer c.Close()
				d := c.AddDevice(Device{Shape: tt.shape})
				token := c.Issue(d.ID, 24*hour)
				middle, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
				if err != nil {
					t.Fatal(err)
				}
				var claims map[string]any
				if err := json.Unmarshal(middle, &claims); err != nil {
					t.Fatal(err)
				}
				for name, want := range tt.want {
					if claims[name] != want {
						t.Errorf("got claim %s = %v; want %v", name, claims[name], want)
					}
				}
				if got := c.Expires(token); !got.Equal(time.Now().Add(24 * hour)) {
					t.Errorf("got expiry %v; want in a day, whatever the claims say", got)
				}
			})
		})
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	g := newGateway(t, Options{})
	claims := jwt.MapClaims{"deviceId": g.ID, "exp": time.Now().Add(hour).Unix()}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("another key"))
	if err != nil {
		t.Fatal(err)
	}
	revoked := g.cloud.Issue(g.ID, 0)
	g.cloud.Revoke(revoked)
	for name, token := range map[string]string{
		"unsigned": unsigned, "another key": foreign, "revoked": revoked, "expired": g.cloud.Issue(g.ID, -time.Second),
		"none": "", "garbage": "gibberish", "altered": g.token + "A", "with a scheme": "Bearer " + g.token,
	} {
		t.Run(name, func(t *testing.T) {
			g := *g
			g.t, g.token = t, token
			a := g.get("/api/v2/ota-files")
			a.want(t, 401)
			if got := a.errorTypes(t); got != "not-authorized" {
				t.Errorf("got errors %q; want not-authorized", got)
			}
		})
	}
}

func TestTokenTimesCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Options{TokenLife: time.Minute, Window: 40 * time.Second, Grace: 30 * time.Second})
		g.login().want(t, 200)
		time.Sleep(20 * time.Second)
		g.login().want(t, 201)
		g.cloud.SetTokenTimes(time.Hour, time.Second, 0)
		g.login().want(t, 200)
		if life, window, grace := g.cloud.TokenTimes(); life != time.Hour || window != time.Second || grace != 30*time.Second {
			t.Errorf("got %v, %v, %v", life, window, grace)
		}
	})
}

func TestClockOfTheCloudDecides(t *testing.T) {
	g := newGateway(t, Options{})
	g.login().want(t, 200)
	g.cloud.SetOffset(7*24*hour - 11*hour)
	a := g.login()
	a.want(t, 201)
	date, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", a.Header.Get("Date"))
	if err != nil || time.Until(date).Round(hour) != 7*24*hour-11*hour {
		t.Errorf("got Date %q, error %v; want the Cloud's clock", a.Header.Get("Date"), err)
	}
	g.cloud.SetOffset(8 * 24 * hour)
	g.get("/api/v2/ota-files").want(t, 401)
	g.login().want(t, 401)
	g.cloud.SetOffset(0)
	g.get("/api/v2/ota-files").want(t, 200)
}
