package local

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A far cloud answers what the test says, and remembers what came.
type far struct {
	mu     sync.Mutex
	came   []string // METHOD URL token BODY
	header []http.Header
	answer func(n int, r *http.Request) *http.Response
	token  string
	next   string // token after a refusal; none if empty
	asked  int    // about refusals
}

func (f *far) upstream(base string) func(string) (Upstream, error) {
	return func(account string) (Upstream, error) {
		if account != "building" {
			return Upstream{}, Errorf(NotFound, "there is no account %q", account)
		}
		u, err := url.Parse(base)
		return Upstream{Base: u, Send: f.send, Refused: f.refused}, err
	}
}

func (f *far) send(r *http.Request) (*http.Response, string, error) {
	body := ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, "", err
		}
		body = string(b)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.came = append(f.came, r.Method+" "+r.URL.String()+" "+f.token+" "+body)
	f.header = append(f.header, r.Header.Clone())
	res := f.answer(len(f.came), r)
	res.Request = r
	return res, f.token, nil
}

func (f *far) refused(_ context.Context, token string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.next == "" || token != f.token {
		return false
	}
	f.token = f.next
	return true
}

func reply(status int, body string, header ...string) *http.Response {
	res := &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	for i := 0; i+1 < len(header); i += 2 {
		res.Header.Add(header[i], header[i+1])
	}
	return res
}

func proxying(f *far, base string) *Server {
	s := willing()
	s.Proxy = f.upstream(base)
	s.MaxBody = 1 << 20
	return s
}

func TestTheProxyTakesThePeersCredentialsAway(t *testing.T) {
	f := &far{token: "ours", answer: func(int, *http.Request) *http.Response {
		return reply(200, "hello", "Set-Cookie", "user=x", "Connection", "X-Hop", "X-Hop", "1", "X-Rate", "7")
	}}
	serve(t, proxying(f, "https://cloud.example/base/"), func(t *testing.T, b *bench) {
		status, body := b.do(member, "PATCH", "/v1/proxy/building/v1/things%2Fone?b=2&access_token=t&API-key=k&a=%20", func(r *http.Request) {
			carrying("text")(r)
			for _, name := range []string{"Authorization", "Proxy-Authorization", "X-Api-Key", "X-Access-Token", "Cookie", "X-Mine"} {
				r.Header.Set(name, "theirs")
			}
			r.Header.Set("Connection", "X-Hop")
			r.Header.Set("X-Hop", "1")
			r.Header.Set("X-Forwarded-For", "10.0.0.1")
			r.Header.Set("Te", "gzip")
		})
		if status != 200 || body != "hello" {
			t.Errorf("got %d %s", status, body)
		}
		if want := "PATCH https://cloud.example/base/v1/things%2Fone?b=2&a=%20 ours text"; len(f.came) != 1 || f.came[0] != want {
			t.Fatalf("the cloud got %q, want %q", f.came, want)
		}
		h := f.header[0]
		for _, name := range []string{"Authorization", "Proxy-Authorization", "X-Api-Key", "X-Access-Token", "Cookie", "X-Hop", "Connection", "X-Forwarded-For", "Te"} {
			if h.Get(name) != "" {
				t.Errorf("the cloud got %s: %s", name, h.Get(name))
			}
		}
		if h.Get("X-Mine") != "theirs" {
			t.Error("another header of the peer's is gone")
		}
	})
}

func TestTheProxysAnswers(t *testing.T) {
	for _, tt := range []struct{ location, want string }{
		{"https://cloud.example/base/next%2F?x=1#f", "/v1/proxy/building/next%2F?x=1#f"},
		{"/base/next", "/v1/proxy/building/next"},
		{"https://cloud.example/base", "/v1/proxy/building"},
		{"https://cloud.example/basement", "https://cloud.example/basement"},
		{"https://cloud.example/elsewhere", "https://cloud.example/elsewhere"},
		{"http://cloud.example/base/x", "http://cloud.example/base/x"},
		{"https://evil.example/base/x", "https://evil.example/base/x"},
		{"://", "://"},
	} {
		f := &far{token: "ours", answer: func(int, *http.Request) *http.Response {
			return reply(307, "", "Location", tt.location, "Set-Cookie", "user=x", "Cache-Control", "public", "Www-Authenticate", "Bearer")
		}}
		serve(t, proxying(f, "https://cloud.example/base"), func(t *testing.T, b *bench) {
			conn, err := b.mem.dial(member)(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			tr := &http.Transport{DisableKeepAlives: true, DialContext: dialing(conn)}
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost/v1/proxy/building/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != 307 || res.Header.Get("Location") != tt.want || res.Header.Get("Set-Cookie") != "" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got %d %v, want %s", tt.location, res.StatusCode, res.Header, tt.want)
			}
			if len(f.came) != 1 {
				t.Errorf("%s was followed: %q", tt.location, f.came)
			}
		})
	}
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	denied := func(int, *http.Request) *http.Response { return reply(401, "no") }
	renewed := func(n int, _ *http.Request) *http.Response {
		if n == 1 {
			return reply(401, "no")
		}
		return reply(200, "yes")
	}
	large := strings.Repeat("x", maxRepeatable+1)
	for _, tt := range []struct {
		name   string
		answer func(int, *http.Request) *http.Response
		next   string
		body   string
		length bool // is told
		status int
		came   int
	}{
		{"there is a new token", renewed, "new", "", true, 200, 2},
		{"and a small body", renewed, "new", "small", true, 200, 2},
		{"and a body that is not kept", renewed, "new", large, true, 401, 1},
		{"and a body of unknown length", renewed, "new", "small", false, 401, 1},
		{"it was a lack of permission", denied, "", "small", true, 401, 1},
		{"the new one is refused too", denied, "new", "", true, 401, 2},
	} {
		f := &far{token: "old", next: tt.next, answer: tt.answer}
		serve(t, proxying(f, "https://cloud.example"), func(t *testing.T, b *bench) {
			status, _ := b.do(member, "POST", "/v1/proxy/building/x", func(r *http.Request) {
				if tt.body != "" {
					carrying(tt.body)(r)
				}
				if !tt.length {
					r.ContentLength = -1
				}
			})
			if status != tt.status || len(f.came) != tt.came || f.asked != 1 {
				t.Errorf("%s: got %d after %d requests, %d times asked about; want %d after %d", tt.name, status, len(f.came), f.asked, tt.status, tt.came)
			}
			for i, came := range f.came {
				if want := []string{"old ", "new "}[i] + tt.body; !strings.HasSuffix(came, want) {
					t.Errorf("%s: request %d was %.80s", tt.name, i, came)
				}
			}
		})
	}
}

func TestWhatTheProxyRefuses(t *testing.T) {
	f := &far{token: "ours", answer: func(int, *http.Request) *http.Response { return reply(200, "") }}
	serve(t, proxying(f, "https://cloud.example/base"), func(t *testing.T, b *bench) {
		for _, tt := range []struct {
			name, method, path string
			peer               peer
			change             func(*http.Request)
			want               int
		}{
			{"a stranger", "GET", "/v1/proxy/building/x", stranger, nil, 403},
			{"a web page", "GET", "/v1/proxy/building/x", member, with("Origin", "https://evil.example"), 403},
			{"another host", "GET", "/v1/proxy/building/x", member, func(r *http.Request) { r.Host = "evil.example" }, 403},
			{"another account", "GET", "/v1/proxy/other/x", member, nil, 404},
			{"the way out", "GET", "/v1/proxy/building/%2e%2e/secret", member, nil, 400},
			{"the way out, coded", "GET", "/v1/proxy/building/x%2f..%2f..%2fsecret", member, nil, 400},
			{"the way out, backwards", "GET", "/v1/proxy/building/x%5c..%5csecret", member, nil, 400},
			{"a line end", "GET", "/v1/proxy/building/x%0d%0aY:z", member, nil, 400},
			{"an upgrade", "GET", "/v1/proxy/building/x", member, func(r *http.Request) { r.Header.Set("Connection", "Upgrade"); r.Header.Set("Upgrade", "websocket") }, 400},
			{"TRACE", "TRACE", "/v1/proxy/building/x", member, nil, 400},
			{"too large", "POST", "/v1/proxy/building/x", member, carrying(strings.Repeat("x", 1<<20+1)), 413},
			{"too large, unsaid", "POST", "/v1/proxy/building/x", member, func(r *http.Request) { carrying(strings.Repeat("x", 1<<20+1))(r); r.ContentLength = -1 }, 413},
		} {
			if got, body := b.do(tt.peer, tt.method, tt.path, tt.change); got != tt.want {
				t.Errorf("%s: got %d %s, want %d", tt.name, got, body, tt.want)
			}
		}
		if len(f.came) != 0 {
			t.Errorf("the cloud got %q", f.came)
		}
	})
}

func TestTheProxySaysWhyThereIsNoAnswer(t *testing.T) {
	s := willing()
	s.Proxy = func(string) (Upstream, error) {
		return Upstream{Base: &url.URL{Scheme: "https", Host: "cloud.example"}, Send: func(*http.Request) (*http.Response, string, error) {
			return nil, "", errors.New("no token that lasts: the cloud has been away since noon")
		}}, nil
	}
	serve(t, s, func(t *testing.T, b *bench) {
		if got, body := b.do(root, "GET", "/v1/proxy/building/", nil); got != 503 || !strings.Contains(body, "away since noon") {
			t.Errorf("got %d %s", got, body)
		}
	})
}

func TestForwardedRequestsAreBounded(t *testing.T) {
	var hold chan struct{} // of the bubble
	s := willing()
	s.Proxy = func(string) (Upstream, error) {
		return Upstream{Base: &url.URL{Scheme: "https", Host: "cloud.example"}, Send: func(r *http.Request) (*http.Response, string, error) {
			select {
			case <-hold:
			case <-r.Context().Done():
				return nil, "", r.Context().Err()
			}
			return reply(200, ""), "", nil
		}}, nil
	}
	serve(t, s, func(t *testing.T, b *bench) {
		hold = make(chan struct{})
		var all sync.WaitGroup
		for n := range maxForwarded {
			all.Go(func() { b.do(peer{uid: uint32(3000 + n/16), gid: 800}, "GET", "/v1/proxy/building/", nil) })
		}
		time.Sleep(time.Second)
		if got, body := b.do(root, "GET", "/v1/proxy/building/", nil); got != 429 {
			t.Errorf("one too many: got %d %s", got, body)
		}
		close(hold)
		all.Wait()
		if got, body := b.do(root, "GET", "/v1/proxy/building/", nil); got != 200 {
			t.Errorf("afterwards: got %d %s", got, body)
		}
	})
}

// TestTheTokenStaysInTheAccountsAPI gives the proxy any path and query: what
// goes out goes to the account's host and below its path, or not at all.
func TestTheTokenStaysInTheAccountsAPI(t *testing.T) {
	base := &url.URL{Scheme: "https", Host: "cloud.example", Path: "/base"}
	rapid.Check(t, func(t *rapid.T) {
		rest := rapid.OneOf(rapid.StringMatching(`(/|%2[fF]|%5c|\.|%2[eE]|[a-z@:?#]|//){0,12}`), rapid.StringMatching(`[ -~]{0,20}`)).Draw(t, "path")
		asked, err := url.ParseRequestURI("/v1/proxy/building/" + rest)
		if err != nil {
			return
		}
		to, err := targetOf(base, "building", asked)
		if err != nil {
			return
		}
		sent, err := url.Parse(to.String())
		if err != nil {
			t.Fatalf("%s is no URL: %v", to, err)
		}
		if sent.Scheme != base.Scheme || sent.Host != base.Host || sent.User != nil || !strings.HasPrefix(sent.EscapedPath(), "/base/") {
			t.Fatalf("%q goes to %s", rest, to)
		}
		if clean, err := url.JoinPath("https://cloud.example", sent.Path); err != nil || !strings.HasPrefix(clean, "https://cloud.example/base") {
			t.Fatalf("%q goes to %s, which is %s", rest, to, clean)
		}
	})
}

// dialing gives conn to whoever dials.
func dialing(conn net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return conn, nil }
}
