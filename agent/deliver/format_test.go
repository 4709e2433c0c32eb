package deliver

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestFormats(t *testing.T) {
	tok := Token{Account: "building", Value: "a.b-c_d~+/=", Expires: time.Date(2026, 11, 22, 10, 0, 0, 5, time.FixedZone("", 3600))}
	for _, tt := range []struct{ format, want string }{
		{"", "a.b-c_d~+/="},
		{"raw", "a.b-c_d~+/="},
		{"json", `{"account":"building","token":"a.b-c_d~+/=","expires":"2026-11-22T09:00:00Z"}` + "\n"},
		{"env:CLOUD_TOKEN", "CLOUD_TOKEN=a.b-c_d~+/=\n"},
		{"ini:mqtt.user", "was[mqtt]user=a.b-c_d~+/="},
		{"ini:mqtt_username", "was[]mqtt_username=a.b-c_d~+/="},
	} {
		f, err := ParseFormat(tt.format)
		if err != nil {
			t.Errorf("%q: %v", tt.format, err)
			continue
		}
		got, err := f.render(tok, []byte("was"), func(old []byte, section, key, value string) ([]byte, error) {
			return fmt.Appendf(old, "[%s]%s=%s", section, key, value), nil
		})
		if err != nil || string(got) != tt.want {
			t.Errorf("%q: got %q, %v, want %q", tt.format, got, err, tt.want)
		}
		if again, err := ParseFormat(f.String()); err != nil || again != f {
			t.Errorf("%q: String gives %q, which reads as %v, %v", tt.format, f, again, err)
		}
	}
}

func TestFormatsThatAreNone(t *testing.T) {
	for _, s := range []string{"RAW", "raw:x", "json:", "env", "env:", "env:A B", "env:1A", "env:A=B", "ini:", "ini:a.b.c", "ini:.k", "ini:a.", "ini:a.b c",
		"ini:a]b.c", "yaml", ":", "env:A\nB", "ini:s.k\n"} {
		if f, err := ParseFormat(s); err == nil {
			t.Errorf("%q: got %+v, want an error", s, f)
		}
	}
}

// TestATokenIsNeverWrittenAsAnother gives every format tokens of any bytes: it
// is refused, or a reader of the format finds just that token.
func TestATokenIsNeverWrittenAsAnother(t *testing.T) {
	edit := func(_ []byte, _, _, value string) ([]byte, error) { return []byte(value), nil }
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9._~+/=-]{1,40}`), rapid.StringMatching(`[ -~]{0,20}`), rapid.String()).Draw(t, "token")
		for _, f := range []Format{{Kind: Raw}, {Kind: JSON}, {Kind: Env, Name: "T"}, {Kind: INI, Section: "s", Key: "k"}} {
			b, err := f.render(Token{Account: "x", Value: value}, nil, edit)
			if err != nil {
				continue
			}
			got := string(b)
			switch f.Kind {
			case JSON:
				var d document
				if err := json.Unmarshal(b, &d); err != nil {
					t.Fatalf("%q: %v", b, err)
				}
				got = d.Token
			case Env:
				got = strings.TrimSuffix(strings.TrimPrefix(got, "T="), "\n")
			}
			if got != value || strings.ContainsAny(got, "\n\r \x00") {
				t.Fatalf("%s: got %q, want %q", f, got, value)
			}
		}
	})
}

func TestATokenDoesNotPrint(t *testing.T) {
	tok := Token{Account: "building", Value: "secret"}
	if text := fmt.Sprintf("%v %+v %s %#v", tok, tok, tok, tok); strings.Contains(text, "secret") {
		t.Errorf("it prints as %s", text)
	}
}

func FuzzParseFormat(f *testing.F) {
	for _, s := range []string{"raw", "env:A", "ini:a.b", "ini:a.b.c", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseFormat(s)
		if err != nil {
			return
		}
		if s != "" && got.String() != s {
			t.Errorf("%q reads as %q", s, got)
		}
	})
}

func FuzzParseNotify(f *testing.F) {
	for _, s := range []string{"/bin/true", "signal:/run/a.pid:HUP", "reload:a.service", "reload:-x.service"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNotify([]string{s})
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{len(n.Argv) > 0, n.PIDFile != "" && n.Signal != 0, n.Unit != "" && n.Unit[0] != '-'} {
			if is {
				set++
			}
		}
		if set != 1 {
			t.Errorf("%q reads as %+v", s, n)
		}
	})
}
