package systemd

import (
	"log/slog"
	"regexp"
	"unicode/utf8"
)

// The safety net below is for mistakes. Types that hold a secret print
// themselves redacted; what falls through all the same is caught here.

// jwt matches a JSON Web Token, whole or cut short: the base64url of `{"`
// begins with eyJ (RFC 7519).
var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_=+/-]{6,}(\.[A-Za-z0-9_=+/-]*)*`)

// secretKey matches the names of attributes whose text is not to be seen.
var secretKey = regexp.MustCompile(`(?i)token|password|passwd|authorization|mqtt_username`)

const redacted = "[redacted]"

// redact is s without anything that looks like a token.
func redact(s string) string { return jwt.ReplaceAllString(s, redacted) }

// redactAttr hides the text of attributes with a secret's name. Numbers, times
// and groups stay: they are how a token describes itself.
func redactAttr(_ []string, a slog.Attr) slog.Attr {
	if k := a.Value.Kind(); (k == slog.KindString || k == slog.KindAny) && secretKey.MatchString(a.Key) {
		if _, isLevel := a.Value.Any().(slog.Level); !isLevel {
			a.Value = slog.StringValue(redacted)
		}
	}
	return a
}

// cut is s shortened to at most n bytes, between two characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const more = "..."
	n -= len(more)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
