package console

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// page returns a console whose API answers with what it was sent.
func page(t *testing.T, o Options) http.Handler {
	t.Helper()
	if o.API == nil {
		o.API = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			io.WriteString(w, r.Method+" "+r.URL.Path+" "+string(body))
		})
	}
	if o.State == nil {
		o.State = func() map[string]any { return nil }
	}
	if o.Events == nil {
		o.Events = func(int) ([]cloudtest.Event, <-chan struct{}) { return nil, nil }
	}
	return New(o)
}

// get asks h as a browser of the same origin would.
func get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	return send(h, http.NoBody, "GET", target, header...)
}

func send(h http.Handler, body io.Reader, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, body)
	r.Host = "127.0.0.1:8899"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPageIsWhole(t *testing.T) {
	h := page(t, Options{})
	index := get(h, "/")
	if index.Code != http.StatusOK || index.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d, %v", index.Code, index.Header())
	}
	named := regexp.MustCompile(`(?:href|src|from)[= ]"(/[a-z.]+)"`)
	asked := map[string]bool{}
	for todo := []string{"/"}; len(todo) > 0; todo = todo[1:] {
		w := get(h, todo[0])
		if w.Code != http.StatusOK {
			t.Errorf("%s: got %d", todo[0], w.Code)
		}
		if want := types[path.Ext(todo[0])]; todo[0] != "/" && w.Header().Get("Content-Type") != want {
			t.Errorf("%s: got type %s, want %s", todo[0], w.Header().Get("Content-Type"), want)
		}
		for _, m := range named.FindAllStringSubmatch(w.Body.String(), -1) {
			if !asked[m[1]] {
				asked[m[1]] = true
				todo = append(todo, m[1])
			}
		}
	}
	entries, err := web.ReadDir("web")
	if err != nil || len(asked) != len(entries)-1 {
		t.Errorf("%d files are asked for, %d are there besides the page itself, %v", len(asked), len(entries)-1, err)
	}
	if w := get(h, "/nothing.js"); w.Code != http.StatusNotFound {
		t.Errorf("a file that is not there: got %d", w.Code)
	}
	if w := get(h, "/style.css", "If-None-Match", get(h, "/style.css").Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("a file that the browser has: got %d and %d bytes", w.Code, w.Body.Len())
	}
}

// TestPageMakesNoMarkup keeps the page to what its policy allows, and text of
// devices from becoming more than text.
func TestPageMakesNoMarkup(t *testing.T) {
	entries, err := web.ReadDir("web")
	if err != nil {
		t.Fatal(err)
	}
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|DOMParser|createContextualFragment|` +
		`<script>|<style|\sstyle=|\son[a-z]+=|javascript:|https?://`)
	for _, entry := range entries {
		text, err := web.ReadFile("web/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		found := forbidden.FindString(strings.ReplaceAll(string(text), `xmlns="http://www.w3.org/2000/svg"`, ""))
		if found != "" {
			t.Errorf("%s has %q", entry.Name(), found)
		}
		if len(text) > 24<<10 {
			t.Errorf("%s has %d bytes", entry.Name(), len(text))
		}
	}
}

func TestEveryAnswerHasThePolicy(t *testing.T) {
	h := page(t, Options{})
	for _, target := range []string{"/", "/main.js", "/api/state", "/nothing"} {
		header := get(h, target).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s: got %q", target, name, got)
			}
		}
	}
	for _, word := range []string{"unsafe", "*", "data:", "http"} {
		if strings.Contains(policy, word) {
			t.Errorf("the policy has %q", word)
		}
	}
}

func TestOthersAreRefused(t *testing.T) {
	near := page(t, Options{Hosts: []string{"sim.example"}})
	far := page(t, Options{Anywhere: true})
	for _, tt := range []struct {
		name   string
		h      http.Handler
		method string
		header []string
		want   int
	}{
		{"no browser", near, "POST", nil, 200},
		{"the page", near, "POST", []string{"Origin", "http://127.0.0.1:8899", "Sec-Fetch-Site", "same-origin"}, 200},
		{"the page, in an old browser", near, "POST", []string{"Origin", "http://127.0.0.1:8899"}, 200},
		{"by localhost", near, "GET", []string{"Host", "localhost:8899"}, 200},
		{"by IPv6", near, "GET", []string{"Host", "[::1]:8899"}, 200},
		{"by a name that was given", near, "GET", []string{"Host", "sim.example:8899"}, 200},
		{"by somebody's name", near, "GET", []string{"Host", "rebound.example:8899"}, 421},
		{"by somebody's name without a port", near, "GET", []string{"Host", "rebound.example"}, 421},
		{"by a name that begins well", near, "GET", []string{"Host", "localhost.example:8899"}, 421},
		{"by no name", near, "GET", []string{"Host", ""}, 421},
		{"by an address that is not ours", near, "GET", []string{"Host", "192.0.2.1:8899"}, 421},
		{"by an address, anywhere", far, "GET", []string{"Host", "192.0.2.1:8899"}, 200},
		{"by somebody's name, anywhere", far, "GET", []string{"Host", "rebound.example:8899"}, 421},
		{"another page writes", near, "POST", []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"another page writes, in an old browser", near, "POST", []string{"Origin", "http://evil.example"}, 403},
		{"a page of no origin writes", near, "POST", []string{"Origin", "null"}, 403},
		{"another port writes", near, "POST", []string{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"}, 403},
		{"another page reads", near, "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{"another page reads with its origin", near, "GET", []string{"Origin", "http://evil.example"}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := send(tt.h, http.NoBody, tt.method, "/api/state", tt.header...).Code; got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	link := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	if got := get(near, "/", link...).Code; got != http.StatusOK {
		t.Errorf("a link to the page: got %d", got)
	}
	if got := get(near, "/api/state", link...).Code; got != http.StatusForbidden {
		t.Errorf("a link to the API: got %d", got)
	}
	if got := get(near, "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe").Code; got != http.StatusForbidden {
		t.Errorf("the page in a frame: got %d", got)
	}
}

// endless is a body that says nothing of its length.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read += int64(len(p))
	return len(p), nil
}

func TestRequestsAreBounded(t *testing.T) {
	h := page(t, Options{})
	if w := send(h, strings.NewReader("hello"), "POST", "/api/ota/7/withdraw"); w.Body.String() != "POST /ota/7/withdraw hello" {
		t.Errorf("got %q", w.Body)
	}
	body := &endless{}
	if w := send(h, body, "POST", "/api/fault"); w.Code != http.StatusBadRequest || body.read > 2*maxBody {
		t.Errorf("an endless request: got %d after %d bytes", w.Code, body.read)
	}
	r := httptest.NewRequest("POST", "/api/ota", http.NoBody)
	r.Host, r.ContentLength = "127.0.0.1", maxUpload+1
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a release that is too large: got %d", w.Code)
	}
}
