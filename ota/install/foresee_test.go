package install

import (
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

func TestTheDaemonForeseesARefusal(t *testing.T) {
	b := newBench(t)
	up := b.release(1, "1.1.0", "the payload", 5)
	unsigned, _, _ := strings.Cut(up.Notes, " sig=")
	signature, digest, none := b.rule, b.rule, b.rule
	digest.Require, none.Require = "digest", "none"
	nokeys, badkey, foreign := signature, signature, signature
	nokeys.Keys, badkey.Keys, foreign.Keys = b.path("nokeys/*.pub"), b.path("hook"), b.path("other.pub")
	_, public := secretKey(t, 1)
	b.write("other.pub", public)
	for _, c := range []struct {
		name    string
		rule    Rule
		notes   string
		refused string // "" if it is not
	}{
		{"signed", signature, up.Notes, ""},
		{"unsigned", signature, unsigned, "the release is not signed, and install.conf requires it"},
		{"no line", signature, "New.", "the notes hold no ota1 line"},
		{"another statement", signature, strings.Replace(up.Notes, "size=11", "size=12", 1), "has not signed this statement"},
		{"a foreign key", foreign, up.Notes, "signed with a key that is not trusted here"},
		{"no keys: the installer will tell", nokeys, up.Notes, ""},
		{"a key that is none", badkey, up.Notes, ""},
		{"unsigned, and a digest is enough", digest, unsigned, ""},
		{"no line, and a digest is wanted", digest, "New.", "the notes hold no ota1 line"},
		{"no line, and none is wanted", none, "New.", ""},
		{"malformed, and none is wanted", none, "ota1 sha256=1", "malformed ota1 line"},
	} {
		err := c.rule.Foresee(ota.File{Module: up.Module, Version: up.To, Notes: c.notes})
		if got := errorText(err); (c.refused == "") != (err == nil) || !strings.Contains(got, c.refused) {
			t.Errorf("%s: %q, want %q", c.name, got, c.refused)
		}
	}
	line := strings.TrimSpace(strings.TrimPrefix(up.Notes, "New.\n"))
	for bit := range 8 * len(line) {
		flipped := []byte(line)
		flipped[bit/8] ^= 1 << (bit % 8)
		if signature.Foresee(ota.File{Module: up.Module, Version: up.To, Notes: string(flipped)}) == nil {
			t.Errorf("bit %d: %q is taken", bit, flipped)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
