// Package hosttest asks simulated clouds in tests, in memory.
package hosttest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A Cloud is found in memory.
type Cloud interface {
	Client() *http.Client
	URL() string
	Close()
}

// A Caller makes requests to one cloud.
type Caller struct {
	t      testing.TB
	client *http.Client
	url    string
}

// Of returns a Caller of the cloud, which is closed when the test ends. It
// follows no redirects.
func Of(t testing.TB, c Cloud) *Caller {
	t.Helper()
	client := c.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		client.CloseIdleConnections()
		c.Close()
	})
	return &Caller{t, client, c.URL()}
}

// An Answer is what a cloud answered.
type Answer struct {
	t      testing.TB
	Status int // 0 if the connection was cut
	Header http.Header
	Body   string
}

// A Part changes a request.
type Part func(*http.Request)

// Header sets a header.
func Header(name, value string) Part { return func(r *http.Request) { r.Header.Set(name, value) } }

// Bearer sets the token.
func Bearer(token string) Part { return Header("Authorization", "Bearer "+token) }

// JSON sets a body of JSON, v itself if it is a string.
func JSON(v any) Part {
	text, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		text = string(b)
	}
	return Body("application/json", text)
}

// Body sets a body.
func Body(typ, text string) Part {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", typ)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	}
}

// Form sets a urlencoded body of names and values.
func Form(pairs ...string) Part {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return Body("application/x-www-form-urlencoded", values.Encode())
}

// FormData sets a multipart body of names and values.
func FormData(pairs ...string) Part {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		if err := w.WriteField(pairs[i], pairs[i+1]); err != nil {
			panic(err)
		}
	}
	w.Close()
	return Body(w.FormDataContentType(), b.String())
}

// Do makes a request.
func (c *Caller) Do(method, path string, parts ...Part) *Answer {
	c.t.Helper()
	r, err := http.NewRequest(method, c.url+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, part := range parts {
		part(r)
	}
	a := &Answer{t: c.t}
	resp, err := c.client.Do(r)
	if err != nil {
		return a
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	a.Status, a.Header, a.Body = resp.StatusCode, resp.Header, string(body)
	return a
}

// Want checks the status, and that the body holds each text.
func (a *Answer) Want(status int, texts ...string) *Answer {
	a.t.Helper()
	if a.Status != status {
		a.t.Errorf("got status %d, %s; want %d", a.Status, a.Body, status)
	}
	for _, text := range texts {
		if !strings.Contains(a.Body, text) {
			a.t.Errorf("got %q; want %q in it", a.Body, text)
		}
	}
	return a
}

// Members returns the body, which must be a JSON object with exactly these
// members.
func (a *Answer) Members(names ...string) map[string]any {
	a.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
		a.t.Fatalf("got %q: %v", a.Body, err)
	}
	for _, name := range names {
		if _, ok := v[name]; !ok {
			a.t.Errorf("got %q; want a member %s", a.Body, name)
		}
	}
	if len(v) != len(names) {
		a.t.Errorf("got %q; want no members but %q", a.Body, names)
	}
	return v
}

// Text returns a member of a JSON object that must be a string.
func (a *Answer) Text(name string) string {
	a.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
		a.t.Fatalf("got status %d, %q: %v", a.Status, a.Body, err)
	}
	text, ok := v[name].(string)
	if !ok {
		a.t.Errorf("got %q; want a string %s", a.Body, name)
	}
	return text
}

// Claims returns the claims of a JWT.
func Claims(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("got %.40s; want a JWT", token)
	}
	v := map[string]any{}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatalf("claims of %.40s: %v", token, err)
	}
	return v
}
