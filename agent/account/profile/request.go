package profile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// A Request is a call with its fields filled in. It does not print what it
// carries.
type Request struct {
	Method string
	Path   string // below the account's URL
	Query  string // may hold a secret
	Header http.Header
	Body   []byte
	Secret []string // what no error may repeat
}

// String names the call alone.
func (r Request) String() string { return r.Method + " " + r.Path }

// GoString is String, for %#v.
func (r Request) GoString() string { return r.String() }

// Request fills the fields of c with v. Its error names values that are
// missing.
func (p Profile) Request(c Call, v Values) (Request, error) {
	if names := c.Missing(v); len(names) > 0 {
		return Request{}, fmt.Errorf("%s %s: %s is not set", c.Method, c.Path, strings.Join(names, " and "))
	}
	r := Request{Method: c.Method, Path: c.Path, Header: http.Header{"Accept": {"application/json"}}}
	if c.Bearer {
		send := p.Send
		if v[keyed] != "" {
			send = p.Key
		}
		query, err := send.Carry(r.Header, "", v[Token])
		if err != nil {
			return Request{}, fmt.Errorf("%s %s: %w", c.Method, c.Path, err)
		}
		r.Query, r.Secret = query, append(r.Secret, v[Token], url.QueryEscape(v[Token]))
	}
	var fields []Field
	for _, f := range c.Fields {
		if name, ok := strings.CutPrefix(f.Value, "$"); ok {
			f.Value = v[name]
			if f.Value == "" {
				continue // optional
			}
			if !public[name] {
				r.Secret = append(r.Secret, f.Value)
			}
		}
		fields = append(fields, f)
	}
	contentType, body := c.Encoding.encode(fields)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	r.Body = body
	return r, nil
}

// keyed is set among Values where Token is an API key.
const keyed = "api_key"

// Keyed returns the values of a call that carries an API key.
func Keyed(key string) Values { return Values{Token: key, keyed: "yes"} }

// public are the values that an error may repeat.
var public = map[string]bool{Scope: true, RedirectURI: true}

// carriable reports whether a header can carry s (RFC 9110, section 5.5).
func carriable(s string) bool {
	return s != "" && len(s) <= MaxToken && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// encode is the body that carries the fields, in their order, and its type.
func (e Encoding) encode(fields []Field) (contentType string, body []byte) {
	var b bytes.Buffer
	switch e {
	case JSON:
		object := map[string]string{}
		for _, f := range fields {
			object[f.Name] = f.Value
		}
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(object) // of strings: it cannot fail
		return "application/json", bytes.TrimSpace(b.Bytes())
	case Form:
		for i, f := range fields {
			if i > 0 {
				b.WriteByte('&')
			}
			b.WriteString(url.QueryEscape(f.Name) + "=" + url.QueryEscape(f.Value))
		}
		return "application/x-www-form-urlencoded", b.Bytes()
	case Multipart:
		w := multipart.NewWriter(&b)
		_ = w.SetBoundary(boundary(fields)) // hexadecimal digits: it cannot fail
		for _, f := range fields {
			_ = w.WriteField(f.Name, f.Value) // to memory: nor can this
		}
		_ = w.Close()
		return w.FormDataContentType(), b.Bytes()
	}
	return "", nil
}

// boundary is one that no value holds, since it depends on them all.
func boundary(fields []Field) string {
	h := sha256.New()
	for _, f := range fields {
		fmt.Fprintf(h, "%q=%q\n", f.Name, f.Value)
	}
	return hex.EncodeToString(h.Sum(nil)[:24])
}
