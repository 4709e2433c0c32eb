package api

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMessage bounds what an error repeats of a foreign text, in bytes.
const maxMessage = 256

const redacted = "[redacted]"

var (
	// A JWT begins with {" in base64url; one that was cut short still does.
	jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*){0,2}`)
	// Nothing that a person reads is so long without a space, a dot or a slash.
	opaque = regexp.MustCompile(`[A-Za-z0-9_~+=-]{40,}`)
)

// clean makes one harmless line of at most limit bytes out of foreign text: no
// control characters, none of the secrets, nothing that looks like a token.
func clean(text string, limit int, secret []string) string {
	for _, s := range secret {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, s, redacted)
		}
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	// After the characters that could hide a token in two halves are gone.
	text = opaque.ReplaceAllString(jwt.ReplaceAllString(text, redacted), redacted)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= limit {
		return text
	}
	cut := limit - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// looksHTML reports whether body is a page for people: that of a captive
// portal, a proxy or a load balancer.
func looksHTML(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, "\ufeff \t\r\n"), []byte("<"))
}

// visible reports whether s is one word of visible ASCII.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
