package deliver

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// A Kind is how a token stands in a file.
type Kind string

// The kinds of formats.
const (
	Raw  Kind = "raw"  // the token and nothing else, no newline either
	JSON Kind = "json" // one object with account, token and expires
	Env  Kind = "env"  // one line NAME=token, for EnvironmentFile= and shells
	INI  Kind = "ini"  // one key of an INI file; the rest stays as it is
)

// A Format is what a file says.
type Format struct {
	Kind    Kind
	Name    string // of Env
	Section string // of INI; empty: before any section
	Key     string // of INI
}

var (
	envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	iniName = regexp.MustCompile(`^(?:([^.\[\]\s=:#;"` + "`" + `]+)\.)?([^.\[\]\s=:#;"` + "`" + `]+)$`)
)

// maxFormatName bounds a name, a section and a key. It is no part of the
// patterns: a counted repetition is compiled to as many steps.
const maxFormatName = 128

// ParseFormat reads raw, json, env:NAME or ini:[SECTION.]KEY; empty is raw.
func ParseFormat(s string) (Format, error) {
	kind, rest, named := strings.Cut(s, ":")
	switch f := (Format{Kind: Kind(kind)}); {
	case s == "":
		return Format{Kind: Raw}, nil
	case !named && (f.Kind == Raw || f.Kind == JSON):
		return f, nil
	case named && f.Kind == Env && len(rest) <= maxFormatName && envName.MatchString(rest):
		f.Name = rest
		return f, nil
	case named && f.Kind == INI:
		if m := iniName.FindStringSubmatch(rest); m != nil && utf8.RuneCountInString(m[1]) <= maxFormatName && utf8.RuneCountInString(m[2]) <= maxFormatName {
			f.Section, f.Key = m[1], m[2]
			return f, nil
		}
	}
	return Format{}, fmt.Errorf("%.64q is no format: raw, json, env:NAME or ini:[SECTION.]KEY", s)
}

// String is what ParseFormat reads.
func (f Format) String() string {
	switch f.Kind {
	case Env:
		return "env:" + f.Name
	case INI:
		if f.Section == "" {
			return "ini:" + f.Key
		}
		return "ini:" + f.Section + "." + f.Key
	case "":
		return string(Raw)
	}
	return string(f.Kind)
}

// A document is the file of format json. Fields may be added.
type document struct {
	Account string    `json:"account"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires,omitzero"`
}

// maxYear is the last that RFC 3339 can write.
const maxYear = 9999

// render returns what the file says about tok. old is its text now, nil if
// there is none; edit is Account.Edit.
func (f Format) render(tok Token, old []byte, edit func([]byte, string, string, string) ([]byte, error)) ([]byte, error) {
	if err := f.carries(tok.Value); err != nil {
		return nil, err
	}
	switch f.Kind {
	case JSON:
		d := document{Account: tok.Account, Token: tok.Value, Expires: tok.Expires.UTC().Truncate(time.Second)}
		if y := d.Expires.Year(); tok.Expires.IsZero() || y < 1 || y > maxYear {
			d.Expires = time.Time{}
		}
		b, err := json.Marshal(d)
		return append(b, '\n'), err
	case Env:
		return []byte(f.Name + "=" + tok.Value + "\n"), nil
	case INI:
		if edit == nil {
			return nil, errors.New("INI files are not edited here")
		}
		return edit(old, f.Section, f.Key, tok.Value)
	}
	return []byte(tok.Value), nil
}

// carries refuses a token that a reader of the format could take for another:
// env and ini admit what a Bearer header does (RFC 6750, section 2.1), which no
// shell and no INI reader changes.
func (f Format) carries(token string) error {
	if token == "" {
		return errors.New("the token is empty")
	}
	for i := range len(token) {
		c := token[i]
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~+/=", c) >= 0:
		case c <= ' ' || c > '~':
			return fmt.Errorf("the token has the byte %#02x at %d, which no header carries", c, i)
		case f.Kind == Env || f.Kind == INI:
			return fmt.Errorf("the token has the character %q, which readers of the format %s differ about", c, f.Kind)
		}
	}
	return nil
}
