package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A pair is the API and another host, both over TLS.
type pair struct {
	*Client
	api, other *httptest.Server

	mu   sync.Mutex
	seen []*http.Request // at the other host
}

// newPair starts both. apiHandler and otherHandler know each other's address.
func newPair(t *testing.T, apiHandler, otherHandler func(p *pair, w http.ResponseWriter, r *http.Request)) *pair {
	t.Helper()
	p := new(pair)
	p.api = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { apiHandler(p, w, r) }))
	p.other = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), token) {
			t.Error("the token arrived at the other host in a body")
		}
		p.mu.Lock()
		p.seen = append(p.seen, r)
		p.mu.Unlock()
		otherHandler(p, w, r)
	}))
	t.Cleanup(p.api.Close)
	t.Cleanup(p.other.Close)
	roots := x509.NewCertPool()
	roots.AddCert(p.api.Certificate())
	roots.AddCert(p.other.Certificate())
	p.Client = client(t, p.api.URL, &tls.Config{RootCAs: roots})
	return p
}

// leaked reports whether any request at the other host held the token.
func (p *pair) leaked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.seen {
		for _, values := range r.Header {
			if strings.Contains(strings.Join(values, " "), token) {
				return true
			}
		}
	}
	return false
}

func ok(_ *pair, w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "payload") }

// TestNetHTTPForwardsTheTokenItself is why redirects are judged here at all.
func TestNetHTTPForwardsTheTokenItself(t *testing.T) {
	p := newPair(t, func(p *pair, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, p.other.URL, http.StatusFound)
	}, ok)
	req, _ := http.NewRequest(http.MethodGet, p.api.URL, nil)
	req.Header.Set(tokenHeader, token)
	res, err := p.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if !p.leaked() {
		t.Error("net/http has learned better: redirect.go may be simplified")
	}
}

func TestJSONCallsStayAtTheirHost(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := newPair(t, func(p *pair, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, p.other.URL+"/x?signature=s3cr3t", status)
		}, ok)
		for endpoint, err := range every(t.Context(), p.Client) {
			var se *StatusError
			if !errors.As(err, &se) || se.HTTPStatus() != status {
				t.Errorf("%s: got %v, want %d", endpoint, err, status)
				continue
			}
			noSecrets(t, err)
			host := strings.TrimPrefix(p.other.URL, "https://")
			if text := err.Error(); !strings.Contains(text, endpoint) || !strings.Contains(text, host) || strings.Contains(text, "s3cr3t") {
				t.Errorf("error should name %s and %s alone: %v", endpoint, host, text)
			}
		}
		if len(p.seen) != 0 {
			t.Errorf("%d: the other host got %d requests", status, len(p.seen))
		}
	}
}

func TestLoginFollowsNoRedirect(t *testing.T) {
	n := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect) // its own host
	})
	_, err := c.LoginDevice(t.Context(), identity)
	var se *StatusError
	if !errors.As(err, &se) || se.Status != http.StatusTemporaryRedirect || n != 1 {
		t.Errorf("got %v after %d requests", err, n)
	}
	noSecrets(t, err)
}

func TestRedirectWithinTheHostKeepsTheToken(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/new") {
			http.Redirect(w, r, "/new"+r.URL.Path, http.StatusPermanentRedirect)
			return
		}
		if r.Header.Get(tokenHeader) != token {
			t.Errorf("%s came without the token", r.URL)
		}
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPost && string(body) != `{"type":"log"}` {
			t.Errorf("body after the redirect: %q", body)
		}
		io.WriteString(w, `{"id":"abc"}`)
	})
	if id, err := c.CreateDataFile(t.Context(), "log", ""); id != "abc" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
	res, err := c.OTAContent(t.Context(), "7", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

func TestRedirectDoesNotTurnPostIntoGet(t *testing.T) {
	n := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		http.Redirect(w, r, "/new", http.StatusFound)
	})
	if _, err := c.CreateDataFile(t.Context(), "log", ""); err == nil || n != 1 {
		t.Errorf("got %v after %d requests", err, n)
	}
}

func TestContentsMayLieAtAnotherHost(t *testing.T) {
	p := newPair(t, func(p *pair, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, p.other.URL+"/bucket/7?signature=abc", http.StatusFound)
	}, ok)
	res, err := p.OTAContent(t.Context(), "7", http.Header{"Range": {"bytes=5-"}, "X-Access-Token": {"mine"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "payload" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	if len(p.seen) != 1 || p.seen[0].Header.Get("Range") != "bytes=5-" || p.seen[0].Header.Get("Referer") != "" {
		t.Errorf("the other host got %v", p.seen)
	}
	if p.leaked() || p.seen[0].Header.Get(tokenHeader) != "" {
		t.Error("the other host got the token")
	}
}

func TestTokenDoesNotComeBackAfterADetour(t *testing.T) {
	back := false
	p := newPair(t, func(p *pair, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chosen-by-the-other" {
			back = true
			if r.Header.Get(tokenHeader) != "" {
				t.Error("a path chosen by another host got the token")
			}
			return
		}
		http.Redirect(w, r, p.other.URL, http.StatusFound)
	}, func(p *pair, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, p.api.URL+"/chosen-by-the-other", http.StatusFound)
	})
	res, err := p.OTAContent(t.Context(), "7", nil)
	if err != nil || !back {
		t.Fatal(err, back)
	}
	res.Body.Close()
}

func TestContentsRedirectsThatAreRefused(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer plain.Close()
	for _, tc := range []struct{ name, to, why string }{
		{"to plain HTTP", "http://storage.example/x", "not https"},
		{"to another scheme", "ftp://storage.example/x", "not https"},
		{"in a circle", "", "more redirects"},
	} {
		n := 0
		p := newPair(t, func(p *pair, w http.ResponseWriter, r *http.Request) {
			n++
			to := tc.to
			if to == "" {
				to = r.URL.Path
			}
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		}, ok)
		_, err := p.OTAContent(t.Context(), "7", nil)
		var se *StatusError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%s: got %v", tc.name, err)
		}
		if tc.to == "" && n != maxHops+1 {
			t.Errorf("%s: %d requests, want %d", tc.name, n, maxHops+1)
		}
	}
	// From loopback to loopback plain HTTP is allowed: that is the simulator.
	p := newPair(t, func(p *pair, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusFound)
	}, ok)
	if _, err := p.OTAContent(t.Context(), "7", nil); err != nil {
		t.Errorf("loopback: %v", err)
	}
}

func TestRefuse(t *testing.T) {
	for _, tc := range []struct {
		p        policy
		from, to string
		refused  bool
	}{
		{stay, "https://a.test/x", "https://a.test/y", true},
		{sameHost, "https://a.test/x", "https://a.test/y", false},
		{sameHost, "https://a.test/x", "https://A.TEST:443/y", false},
		{sameHost, "https://a.test/x", "https://a.test:444/y", true},
		{sameHost, "https://a.test/x", "http://a.test/y", true},
		{sameHost, "https://a.test/x", "https://a.test.evil.test/y", true},
		{sameHost, "https://a.test/x", "https://a.test@evil.test/y", true},
		{anyHost, "https://a.test/x", "https://b.test/y", false},
		{anyHost, "https://a.test/x", "http://a.test/y", true},
		{anyHost, "https://a.test/x", "http://127.0.0.1/y", true}, // not into our own machine
		{anyHost, "http://127.0.0.1:1/x", "http://127.0.0.1:2/y", false},
		{anyHost, "http://localhost:1/x", "http://[::1]:2/y", false},
		{anyHost, "http://localhost:1/x", "http://b.test/y", true},
		{anyHost, "https://a.test/x", "file:///etc/passwd", true},
	} {
		from, to := mustURL(t, tc.from), mustURL(t, tc.to)
		why := tc.p.refuse(&http.Request{Method: "GET", URL: to}, []*http.Request{{Method: "GET", URL: from}})
		if (why != "") != tc.refused {
			t.Errorf("policy %d, %s to %s: refused %q", tc.p, tc.from, tc.to, why)
		}
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
