package conf

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSetKey(t *testing.T) {
	for _, tt := range []struct{ name, src, section, key, want string }{
		{"an empty file", "", "mqtt", "user", "[mqtt]\nuser = t.o.k\n"},
		{"no section", "", "", "user", "user = t.o.k\n"},
		{"its value", "[a]\nx=1\n[mqtt]\n; here\nuser : \"old\"  # mine\nlast=2", "mqtt", "user", "[a]\nx=1\n[mqtt]\n; here\nuser : \"t.o.k\"  # mine\nlast=2"},
		{"a new key", "[mqtt]\nhost=h\n\n[z]\ny=1\n", "mqtt", "user", "[mqtt]\nhost=h\nuser = t.o.k\n\n[z]\ny=1\n"},
		{"a new section", "[a]\nx=1", "mqtt", "user", "[a]\nx=1\n[mqtt]\nuser = t.o.k\n"},
		{"before the sections", "x=1\r\n[a]\r\ny=2\r\n", "", "user", "x=1\r\nuser = t.o.k\r\n[a]\r\ny=2\r\n"},
		{"another section's key", "[a]\nuser=1\n", "b", "user", "[a]\nuser=1\n[b]\nuser = t.o.k\n"},
		{"twice", "[a]\nuser=1\nuser=2\n", "a", "user", "[a]\nuser=t.o.k\nuser=t.o.k\n"},
	} {
		got, err := SetKey([]byte(tt.src), tt.section, tt.key, "t.o.k")
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, tt.want)
		}
		again, err := SetKey(got, tt.section, tt.key, "t.o.k")
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s: again: got %q, %v", tt.name, again, err)
		}
	}
	if _, err := SetKey(nil, "a", "k", "two words"); !errors.Is(err, ErrToken) {
		t.Errorf("two words: %v", err)
	}
}

// TestSetKeyChangesNothingElse edits any text: it is refused, or every line of
// it is still there.
func TestSetKeyChangesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.StringMatching("([a-c ]{0,3}[=:]? ?[\"'`]?[a-c;# ]{0,4}[\"'`]?\r?\n|\\[[ab]\\]\n){0,8}").Draw(t, "text")
		section := rapid.SampledFrom([]string{"", "a", "b", "new"}).Draw(t, "section")
		key := rapid.SampledFrom([]string{"a", "b", "c", "new"}).Draw(t, "key")
		got, err := SetKey([]byte(src), section, key, "t.o.k")
		if err != nil {
			return
		}
		lines := strings.Split(string(got), "\n")
		for _, l := range strings.Split(src, "\n") {
			if l == "" || strings.HasPrefix(strings.TrimLeft(l, " \"`'"), key) {
				continue // it may be the one
			}
			found := false
			for _, is := range lines {
				found = found || is == l
			}
			if !found {
				t.Fatalf("%q became %q: %q is gone", src, got, l)
			}
		}
	})
}
