package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Bounds of what is taken from an answer, in bytes.
const (
	MaxBody  = 256 << 10
	MaxToken = 64 << 10
	maxScope = 4 << 10
)

// ErrShape is the cause of every answer that is not what the profile says.
var ErrShape = errors.New("answer not understood")

// An Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxBody
}

// A Grant is what a cloud has given. It does not print its secrets.
type Grant struct {
	Token    string        // "" if the token in force lives longer instead
	Renewer  string        // the refresh token; "" if none came
	Life     time.Duration // from the answer on; 0 if nothing tells
	Source   Source        // of Life
	Scope    []string      // what the token permits; nil if the answer does not say
	Extended bool          // the token in force lives longer
}

// String tells no secret.
func (g Grant) String() string { return fmt.Sprintf("grant for %v by %q", g.Life, string(g.Source)) }

// GoString is String, for %#v.
func (g Grant) GoString() string { return g.String() }

// Grant reads the answer to a login or a refresh of at. now counts where the
// answer has no date.
func (p Profile) Grant(a Answer, refresh bool, now time.Time) (Grant, error) {
	f, err := object(a.Body)
	if err != nil {
		return Grant{}, err
	}
	var g Grant
	if refresh && p.Done != "" {
		if done, ok := f[p.Done]; ok {
			if string(bytes.TrimSpace(done)) != "true" {
				return Grant{}, fmt.Errorf("%w: %s is not true", ErrShape, p.Done)
			}
			g.Extended = true
		}
	}
	if g.Token, err = f.secret(p.Token); err != nil {
		return Grant{}, err
	}
	if g.Token == "" && !g.Extended {
		return Grant{}, fmt.Errorf("%w: %s is missing", ErrShape, p.Token)
	}
	if p.Renewer != "" {
		if g.Renewer, err = f.secret(p.Renewer); err != nil {
			return Grant{}, err
		}
	}
	if kind := f.text("token_type"); kind != "" && p.Send.Prefix != "" && !strings.EqualFold(kind, strings.TrimSpace(p.Send.Prefix)) {
		return Grant{}, fmt.Errorf("%w: its token_type is %q, not %s", ErrShape, Clean(kind, nil), strings.TrimSpace(p.Send.Prefix))
	}
	if scope := f.text("scope"); scope != "" && len(scope) <= maxScope {
		g.Scope = strings.Fields(scope)
	}
	g.Life, g.Source = p.life(f, g.Token, a.Header, now)
	return g, nil
}

// Short are the words of asked that the grant does not permit; none where the
// answer does not say what it permits.
func (g Grant) Short(asked string) (words []string) {
	for _, w := range strings.Fields(asked) {
		if g.Scope != nil && !slices.Contains(g.Scope, w) {
			words = append(words, w)
		}
	}
	return words
}

// members is a JSON object whose values are read one by one, so that a wrong
// one does not lose the others.
type members map[string]json.RawMessage

func object(body []byte) (members, error) {
	switch {
	case len(body) > MaxBody:
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrShape, MaxBody)
	case isHTML(body):
		return nil, fmt.Errorf("%w: an HTML page instead of JSON", ErrShape)
	}
	var f members
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("%w: no JSON object", ErrShape) // what it is may be a secret
	}
	if f == nil {
		return nil, fmt.Errorf("%w: null instead of an object", ErrShape)
	}
	return f, nil
}

// isHTML reports whether body is a page for people: that of a captive portal, a
// proxy or a load balancer.
func isHTML(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, "\ufeff \t\r\n"), []byte("<"))
}

// secret is the string at key: "" if it is missing or null, an error if it is
// anything that a header cannot carry.
func (f members) secret(key string) (string, error) {
	raw := bytes.TrimSpace(f[key])
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var s string
	switch {
	case json.Unmarshal(raw, &s) != nil:
		return "", fmt.Errorf("%w: %s is not a string", ErrShape, key)
	case !carriable(s):
		return "", fmt.Errorf("%w: %s is nothing that a header can carry", ErrShape, key)
	}
	return s, nil
}

// text is the string at key; anything else is "".
func (f members) text(key string) string {
	var s string
	if json.Unmarshal(f[key], &s) != nil {
		return ""
	}
	return s
}
