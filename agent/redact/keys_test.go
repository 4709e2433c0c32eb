package redact

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// pem is a private key by lines, of which no line but the first and the last
// says what it is.
func pem(kind string, lines int) []string {
	all := []string{"-----BEGIN " + kind + "PRIVATE KEY-----"}
	for i := range lines {
		all = append(all, base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%048d", i)))
	}
	return append(all, "c2hvcnQ=", "-----END "+kind+"PRIVATE KEY-----")
}

func TestAKeyOfALineEachDoesNotPass(t *testing.T) {
	var k Keys
	say := func(source, text string) (shown string) {
		shown, k = k.Hide(source, text)
		return shown
	}
	encrypted := append([]string{"-----BEGIN RSA PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF", ""}, pem("", 50)[1:]...)
	for _, lines := range [][]string{pem("", 25), pem("EC ", 100), encrypted} {
		for i, line := range lines {
			if got := say("a", "INFO "+line); strings.Contains(got, line) && line != "" || !strings.Contains(got, Mark) {
				t.Errorf("line %d, %q: got %q", i, line, got)
			}
			if got := say("b", "another program"); got != "another program" {
				t.Errorf("of another source: got %q", got)
			}
		}
		if got := say("a", "goes on"); got != "goes on" || len(k) != 0 {
			t.Errorf("after the end: got %q, %v", got, k)
		}
	}
	// Several lines at once, and what is around them.
	if got := say("a", "key -----BEGIN PRIVATE KEY-----\nMIIB\nAAAA"); got != "key "+Mark+"\n"+Mark+"\n"+Mark {
		t.Errorf("got %q", got)
	}
	if got := say("a", strings.Repeat("B", 40)+"\n-----END PRIVATE KEY----- loaded\nready\n"); got != Mark+"\n"+Mark+" loaded\nready\n" {
		t.Errorf("got %q", got)
	}
	if got := say("a", "-----BEGIN PRIVATE KEY-----MIIB-----END PRIVATE KEY-----, -----BEGIN PRIVATE KEY-----MIIB"); got != Mark+", "+Mark || len(k) != 1 {
		t.Errorf("got %q, %v", got, k)
	}
}

func TestAKeyWithoutAnEndHidesSoMuch(t *testing.T) {
	for line, want := range map[string]int{"no line of a key": maxOther, strings.Repeat("A", 64): maxLines} {
		_, k := Keys(nil).Hide("a", "-----BEGIN PRIVATE KEY-----")
		hidden := 0
		for len(k) > 0 && hidden <= maxLines {
			var got string
			if got, k = k.Hide("a", line); got != Mark {
				t.Errorf("line %d: got %q", hidden, got)
			}
			hidden++
		}
		if got, _ := k.Hide("a", line); hidden != want || got != line {
			t.Errorf("%q: %d lines hidden, want %d, then %q", line, hidden, want, got)
		}
	}
	var k Keys
	for i := range 2 * maxSources {
		_, k = k.Hide(fmt.Sprint(i), "-----BEGIN PRIVATE KEY-----")
	}
	if len(k) != maxSources || k[maxSources-1].Source != fmt.Sprint(2*maxSources-1) {
		t.Errorf("%d sources are known: %v", len(k), k)
	}
}

// A text that is known as a whole needs none of it, whatever stands before the
// lines.
func TestTextHidesAKeyOfAnEntryEach(t *testing.T) {
	lines := pem("", 25)
	for i := range lines {
		lines[i] = "Nov 29 10:00:00 gateway prog[7]: " + lines[i]
	}
	got := Text(strings.Join(lines, "\n") + "\nafter\n")
	if strings.Contains(got, "c2hvcnQ=") || strings.Contains(got, "MDAw") || !strings.HasSuffix(got, "\nafter\n") {
		t.Errorf("got %q", got)
	}
}

func FuzzHide(f *testing.F) {
	f.Add("a", "b", "c")
	f.Add("-----BEGIN PRIVATE KEY-----\n\n0", "0", "0")
	f.Add("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----x-----END PRIVATE KEY-----", "\n\n")
	f.Fuzz(func(t *testing.T, before, first, after string) {
		const secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"
		_, k := Keys(nil).Hide("a", before)
		_, k = k.Hide("a", "-----BEGIN PRIVATE KEY-----")
		if got, _ := k.Hide("a", secret); got != Mark {
			t.Errorf("after %q: got %q", before, got)
		}
		shown, _ := Keys(nil).Hide("a", first)
		if again, _ := Keys(nil).Hide("a", after); strings.Count(shown+again, "\n") != strings.Count(first+after, "\n") {
			t.Errorf("%q, %q: lines were added or lost: %q", first, after, shown+again)
		}
	})
}
