package account

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestTokenClaims(t *testing.T) {
	for _, tt := range []struct {
		name, payload      string
		id, base           string
		issued, expiresSec int64
	}{
		{"numbers", `{"deviceId":123,"prefix":"mrs/d/123","iat":1000,"exp":2000}`, "123", "mrs/d/123", 1000, 2000},
		{"id in a string", `{"device_id":"123","mqttPrefix":"acme","exp":2000.5}`, "123", "acme/d/123", 0, 2000},
		{"sub", `{"sub":"9","exp":2e3}`, "9", "mrs/d/9", 0, 2000},
		{"prefix ends in mon", `{"id":5,"publish_prefix":"x/d/5/mon/"}`, "5", "x/d/5", 0, 0},
		{"prefix by shape", `{"id":5,"where":"acme/d/5/","other":"a/d/6"}`, "5", "acme/d/5", 0, 0},
		{"wildcards are no prefix", `{"id":5,"prefix":"#"}`, "5", "mrs/d/5", 0, 0},
		{"absurd times", `{"id":5,"exp":1e300,"iat":-5}`, "5", "mrs/d/5", 0, 0},
		{"wrong types", `{"deviceId":{"a":1},"exp":"soon","prefix":7}`, "", "mrs/d/", 0, 0},
		{"a negative id", `{"deviceId":-4}`, "", "mrs/d/", 0, 0},
		{"not an object", `[1]`, "", "mrs/d/", 0, 0},
		{"16 KiB of claims", `{"id":5,"exp":2000,"x":"` + strings.Repeat("y", 16<<10) + `"}`, "5", "mrs/d/5", 0, 2000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tok, err := ParseToken(jwt(tt.payload, 1), DefaultNames)
			if err != nil {
				t.Fatal(err)
			}
			if tok.DeviceID != tt.id || tok.TopicBase("mrs/d/"+tok.DeviceID) != tt.base {
				t.Errorf("id %q base %q", tok.DeviceID, tok.TopicBase("mrs/d/"+tok.DeviceID))
			}
			if got := seconds(tok.Issued); got != tt.issued {
				t.Errorf("issued %d, want %d", got, tt.issued)
			}
			if got := seconds(tok.Expires); got != tt.expiresSec {
				t.Errorf("expires %d, want %d", got, tt.expiresSec)
			}
		})
	}
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func TestWhatIsNoToken(t *testing.T) {
	for _, raw := range []string{"", "abc", "a.b", "a..c", ".b.c", "a.b.c.d", "a b.c.d", "a.b.c\n", "ä.b.c", "\x00.b.c", strings.Repeat("a", 70000) + ".b.c"} {
		if _, err := ParseToken(raw, DefaultNames); !errors.Is(err, ErrNotJWT) {
			t.Errorf("%.20q: %v", raw, err)
		}
	}
}

func TestTokenNeverPrints(t *testing.T) {
	tok, err := ParseToken(jwt(`{"id":5,"exp":2000}`, 42), DefaultNames)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d\n", tok, tok, tok, tok, tok, tok, tok)
	fmt.Fprintln(&out, struct{ T Token }{tok}, &tok)
	if err := json.NewEncoder(&out).Encode(map[string]any{"t": tok}); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "token", tok, "status", Status{Token: tok})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", tok, "status", Status{Token: tok})
	secret := strings.Split(tok.Raw(), ".")[1]
	if strings.Contains(out.String(), secret) || strings.Contains(out.String(), fmt.Sprintf("%x", tok.Raw())) {
		t.Fatalf("a token was printed: %s", out.String())
	}
	if !strings.Contains(out.String(), tok.Tail()) {
		t.Errorf("the tail is missing: %s", out.String())
	}
}

func FuzzParseToken(f *testing.F) {
	for _, s := range []string{`{"iat":1,"exp":86401}`, `{"exp":2e9}`, `{"exp":1e300}`, `{"deviceId":"7","prefix":"a/d/7"}`, `[]`} {
		f.Add(jwt(s, 1))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		tok, err := ParseToken(raw, DefaultNames)
		if err != nil {
			if !tok.IsZero() {
				t.Fatal("a token and an error")
			}
			return
		}
		base := tok.TopicBase("mrs/d/1")
		if tok.Raw() != raw || tok.Expires.Year() > 2300 || strings.ContainsAny(base, "#+\x00") || base == "" {
			t.Fatalf("%+v base %q", tok.Claims, base)
		}
	})
}
