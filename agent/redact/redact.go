// Package redact takes secrets out of text that leaves the gateway: what other
// programs wrote, in the journal or in a bundle for support.
//
// It is a net, with two kinds of knots: values that are known to be secret, and
// what looks like one. Our own types hold no secret that they would print.
package redact

import "regexp"

// Mark stands where a secret was.
const Mark = "[redacted]"

const (
	// names are what a secret is called, as a part of a name.
	names = `token|passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credential|mqtt[_-]?username|cpu[_-]?id|uuid|serial|cookie`
	// plain are those that hardly stand before a colon for another reason.
	plain = `passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|authorization|cookie|[a-z]-token|_token|cpu[_-]?id|uuid`
	// text is a value in the middle of a line.
	text = `"(?:[^"\\]|\\.)*"?|'[^']*'?|(?i:bearer|basic|token) +[^\s,;&"']+|[^\s,;&"'{}\[\]]+`
)

// A rule replaces what matches.
type rule struct {
	find *regexp.Regexp
	with string
}

// rules are tried one after the other.
var rules = []rule{
	// A JSON Web Token, whole or cut short: the base64url of `{"` begins with eyJ (RFC 7519).
	{regexp.MustCompile(`eyJ[A-Za-z0-9_=+/-]{6,}(\.[A-Za-z0-9_=+/-]*)*`), Mark},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)`), Mark},
	// A URL with a user, whose password may hold further signs of a URL.
	{regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'<>]*@`), "${1}" + Mark + "@"},
	// JSON: "name": "value", also inside a string.
	{regexp.MustCompile(`(?i)(\\?"[\w.-]*(?:` + names + `)[\w.-]*\\?"\s*:\s*\\?")(?:[^"\\]|\\[^"])*`), "${1}" + Mark},
	// name=value, name = value.
	{regexp.MustCompile(`(?i)(\b[\w.-]*(?:` + names + `)[\w.-]*\s*=\s*)(?:` + text + `)`), "${1}" + Mark},
	// Name: value.
	{regexp.MustCompile(`(?i)(\b[\w.-]*(?:` + plain + `)[\w.-]*\s*:\s*)(?:` + text + `)`), "${1}" + Mark},
	// --name value.
	{regexp.MustCompile(`(?i)((?:^|\s)--?[\w-]*(?:` + names + `)[\w-]*\s+)(?:"[^"]*"?|'[^']*'?|[^\s"'-]\S*)`), "${1}" + Mark},
	{regexp.MustCompile(`(?i)(\bbearer +)[A-Za-z0-9._~+/=-]{8,}`), "${1}" + Mark},
}

// Text is s without what looks like a secret.
func Text(s string) string {
	for _, r := range rules {
		s = r.find.ReplaceAllString(s, r.with)
	}
	return s
}
