// Package redact takes secrets out of text that leaves the gateway: what other
// programs wrote, in the journal or in a bundle for support.
//
// It is a net, with two kinds of knots: values that are known to be secret, and
// what looks like one. Our own types hold no secret that they would print.
package redact

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

const (
	// names are what a secret is called, as a part of a name.
	names = `token|passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credential|mqtt[_-]?username|cpu[_-]?id|uuid|serial|cookie|psk|` + pass
	// plain are those that hardly stand before a colon for another reason.
	plain = `passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|authorization|cookie|[a-z]-token|_token|cpu[_-]?id|uuid|` + pass
	// pass is one of a word of its own: not that of "passed", "bypass" or "compass".
	pass = `(?:\b|_)pass(?:\b|_)`
	// text is a value in the middle of a line.
	text = `"(?:[^"\\]|\\.)*"?|'[^']*'?|(?i:bearer|basic|token) +[^\s,;&"']+|[^\s,;&"'{}\[\]]+`
)

// A rule replaces what matches. It is compiled when it is first needed: on most
// gateways and most days that is never, and it takes memory.
type rule struct {
	find func() *regexp.Regexp
	with string
}

func newRule(pattern, with string) rule {
	return rule{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) }), with}
}

func (r rule) replace(s string) string { return r.find().ReplaceAllString(s, r.with) }

// How a private key in PEM begins and ends, and what both have.
const (
	begin = `-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----`
	end   = `-----END [A-Z0-9 ]*PRIVATE KEY-----`
	sign  = "PRIVATE KEY-----"
)

// key is a private key in PEM, of which no line says what it is.
var key = newRule(`(?s)`+begin+`.*?(`+end+`|\z)`, Mark)

// rest is the end of such a key whose beginning is not there, as of a text that
// was cut.
var rest = newRule(fmt.Sprintf(`(?:[^\n]*\n){0,%d}[^\n]*`, maxLines)+end, Mark)

// signs are what one of the rules needs, in lower case: most lines have none,
// and looking for these takes a hundredth of the time.
var signs = []string{
	"token", "pass", "psk", "pwd", "secret", "key", "authorization", "credential", "username", "cpu", "uuid", "serial", "cookie", "eyj", "://", "bearer",
}

// rules are tried one after the other, on a line.
var rules = []rule{
	// A JSON Web Token, whole or cut short: the base64url of `{"` begins with eyJ (RFC 7519).
	newRule(`eyJ[A-Za-z0-9_=+/-]{6,}(\.[A-Za-z0-9_=+/-]*)*`, Mark),
	// A URL with a user, whose password may hold further signs of a URL.
	newRule(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'<>]*@`, "${1}"+Mark+"@"),
	// JSON: "name": "value", and the same inside a string.
	newRule(`(?i)("[\w.-]*(?:`+names+`)[\w.-]*"\s*:\s*")(?:[^"\\]|\\.)*`, "${1}"+Mark),
	newRule(`(?i)(\\"[\w.-]*(?:`+names+`)[\w.-]*\\"\s*:\s*\\")(?:[^"\\]|\\[^"])*`, "${1}"+Mark),
	// name=value, name = value.
	newRule(`(?i)(\b[\w.-]*(?:`+names+`)[\w.-]*\s*=\s*)(?:`+text+`)`, "${1}"+Mark),
	// Name: value.
	newRule(`(?i)(\b[\w.-]*(?:`+plain+`)[\w.-]*\s*:\s*)(?:`+text+`)`, "${1}"+Mark),
	// --name value.
	newRule(`(?i)((?:^|\s)--?[\w-]*(?:`+names+`)[\w-]*\s+)(?:"[^"]*"?|'[^']*'?|[^\s"'-]\S*)`, "${1}"+Mark),
	// "--name", "value": arguments in a list.
	newRule(`(?i)(\\?"--?[\w-]*(?:`+names+`)[\w-]*\\?"\s*,?\s*\\?")(?:[^"\\]|\\[^"])*`, "${1}"+Mark),
	newRule(`(?i)(\bbearer +)[A-Za-z0-9._~+/=-]{8,}`, "${1}"+Mark),
}

// Text is s without what looks like a secret.
func Text(s string) string {
	if strings.Contains(s, sign) {
		s = rest.replace(key.replace(s))
	}
	var out strings.Builder
	for line := range strings.Lines(s) {
		if suspicious(line) {
			for _, r := range rules {
				line = r.replace(line)
			}
		}
		out.WriteString(line)
	}
	return out.String()
}

func suspicious(line string) bool {
	low := strings.ToLower(line)
	for _, sign := range signs {
		if strings.Contains(low, sign) {
			return true
		}
	}
	return false
}

// line is a setting whose value is the rest of its line, also where it is
// commented out.
var line = newRule(`(?im)^([ \t]*[#;]*[ \t]*["']?[\w .-]*(?:`+names+`)[\w .-]*["']?[ \t]*[=:][ \t]*)\S.*$`, "${1}"+Mark)

// Settings is the text of a file of settings without what looks like a secret.
func Settings(s string) string { return Text(line.replace(s)) }
