package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// token is shaped like a JWT and is recognised when it leaks.
const token = "eyJhbGciOiJIUzI1NiJ9.eyJkZXZpY2VJZCI6MTIzfQ.c2lnbmF0dXJl"

var identity = Identity{Token: token, CPUID: "cpu-0001", UUID: "uuid-0001"}

// client returns a Client of the server at base.
func client(t *testing.T, base string, config *tls.Config) *Client {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	hc := NewHTTPClient(config, 10*time.Second, nil)
	t.Cleanup(hc.CloseIdleConnections)
	return &Client{Base: u, HTTP: hc, Token: func(context.Context) (string, error) { return token, nil }, UserAgent: "spoke-zone-agent/1.2.3"}
}

// serve starts a server and returns a Client of it.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return client(t, srv.URL, nil)
}

// answers starts a server that always says the same.
func answers(t *testing.T, status int, body string) *Client {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

// noSecrets fails the test when err repeats what it must not.
func noSecrets(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%q", err)} {
		for i, secret := range []string{token, token[:20], identity.CPUID, identity.UUID} {
			if strings.Contains(text, secret) && (i < 2 || strings.Contains(text, "/loginDevice")) {
				t.Errorf("error repeats %q: %s", secret, text)
			}
		}
	}
}

// every calls each method of c once and returns the errors by endpoint.
func every(ctx context.Context, c *Client) map[string]error {
	errs := map[string]error{}
	_, errs["POST /loginDevice"] = c.LoginDevice(ctx, identity)
	_, errs["GET /api/v2/devices/123"] = c.Device(ctx, "123")
	_, errs["GET /api/v2/ota-files"] = c.OTAFiles(ctx, "display", 0, 0)
	_, errs["POST /api/v2/data-files"] = c.CreateDataFile(ctx, "log", "")
	errs["POST /api/v2/data-files/101/file"] = c.PutDataFile(ctx, "101", "a.log", 3, strings.NewReader("abc"))
	return errs
}

func TestCallsAreThoseOfTheReference(t *testing.T) {
	var got []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
			body = []byte("(multipart)")
		}
		got = append(got, fmt.Sprintf("%s %s token=%v agent=%s %s", r.Method, r.URL, r.Header.Get("X-Access-Token") == token, r.UserAgent(), body))
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/v2/ota-files"):
			io.WriteString(w, `[]`)
		default:
			io.WriteString(w, `{"id":101}`)
		}
	})
	c.Base = c.Base.JoinPath("/")
	for endpoint, err := range every(t.Context(), c) {
		if err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	if _, err := c.CreateDataFile(t.Context(), "journal", "display"); err != nil {
		t.Error(err)
	}
	res, err := c.OTAContent(t.Context(), "7", http.Header{"Range": {"bytes=5-"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	want := []string{
		`POST /loginDevice token=false agent=spoke-zone-agent/1.2.3 {"cpu_id":"cpu-0001","token":"` + token + `","uuid":"uuid-0001"}`,
		`GET /api/v2/devices/123 token=true agent=spoke-zone-agent/1.2.3 `,
		`GET /api/v2/ota-files?isActive=1&limit=50&module=display&offset=0 token=true agent=spoke-zone-agent/1.2.3 `,
		`POST /api/v2/data-files token=true agent=spoke-zone-agent/1.2.3 {"type":"log"}`,
		`POST /api/v2/data-files/101/file token=true agent=spoke-zone-agent/1.2.3 (multipart)`,
		`POST /api/v2/data-files token=true agent=spoke-zone-agent/1.2.3 {"moduleKey":"display","type":"journal"}`,
		`GET /api/v2/ota-files/7/file token=true agent=spoke-zone-agent/1.2.3 `,
	}
	if len(got) != len(want) {
		t.Fatalf("got %d requests, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("request %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

func TestErrorsNameTheEndpointAndNoSecret(t *testing.T) {
	echo := fmt.Sprintf(`{"errors":[{"type":"invalid-field","message":"token %s of %s and %s\u0007\nis bad","details":{}}]}`, token, identity.CPUID, identity.UUID)
	for _, tc := range []struct {
		name   string
		status int
		body   string
	}{
		{"refusal that echoes the request", 400, echo},
		{"refusal with a cut token", 401, "denied: " + token[:50]},
		{"refusal in HTML", 502, "<html><body>" + token + "</body></html>"},
		{"huge refusal", 500, strings.Repeat(token+" ", 10000)},
		{"HTML that says 200", 200, "<!DOCTYPE html><title>Please log in</title>"},
		{"truncated JSON", 200, `{"id":10`},
		{"null", 200, `null`},
		{"string", 201, `"` + token + `"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for endpoint, err := range every(t.Context(), answers(t, tc.status, tc.body)) {
				if err == nil {
					if strings.HasSuffix(endpoint, "/file") && tc.status < 300 {
						continue // the answer to contents has no promised shape
					}
					t.Errorf("%s: no error", endpoint)
					continue
				}
				noSecrets(t, err)
				if !strings.Contains(err.Error(), endpoint) && !strings.Contains(err.Error(), "POST /api/v2/data-files/101/file") {
					t.Errorf("error does not name %s: %v", endpoint, err)
				}
				if len(err.Error()) > 512 || strings.ContainsAny(err.Error(), "\a\n") {
					t.Errorf("error is no bounded line: %q", err)
				}
			}
		})
	}
}

func TestTokenThatCannotBeSent(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("request was sent") })
	for _, bad := range []string{"", "two\r\nlines", strings.Repeat("x", maxToken+1)} {
		c.Token = func(context.Context) (string, error) { return bad, nil }
		if _, err := c.Device(t.Context(), "1"); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("token of %d bytes: %v", len(bad), err)
		}
	}
	cause := errors.New("none yet")
	c.Token = func(context.Context) (string, error) { return "", cause }
	if err := c.PutDataFile(t.Context(), "1", "a", 1, strings.NewReader("a")); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

func TestDateOnlyOverVerifiedTLS(t *testing.T) {
	date := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date.Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	plain, secure := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of the refused handshake
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	roots := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	for _, tc := range []struct {
		name string
		c    *Client
		want bool
	}{
		{"plain", client(t, plain.URL, nil), false},
		{"unverified", client(t, secure.URL, &tls.Config{InsecureSkipVerify: true}), false},
		{"verified, and an error", client(t, secure.URL, &tls.Config{RootCAs: roots}), true},
	} {
		var got []time.Time
		tc.c.OnDate = func(d time.Time, rtt time.Duration) {
			if rtt < 0 || rtt > time.Minute {
				t.Errorf("%s: rtt %v", tc.name, rtt)
			}
			got = append(got, d)
		}
		tc.c.OTAFiles(t.Context(), "display", 0, 0)
		if tc.want != (len(got) == 1 && got[0].Equal(date)) || len(got) > 1 {
			t.Errorf("%s: got %v", tc.name, got)
		}
	}
	if _, err := client(t, secure.URL, nil).Device(t.Context(), "1"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: got %v", err)
	}
}

func TestIdentityDoesNotPrintItsToken(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, identity); strings.Contains(s, token) || !strings.Contains(s, identity.UUID) {
			t.Errorf("%s: %s", verb, s)
		}
	}
}

// A pipeListener is a net.Listener whose connections are net.Pipes, so that
// HTTP runs in a bubble of testing/synctest.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	srv, cli := net.Pipe()
	select {
	case l.conns <- srv:
		return cli, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble returns a Client of h inside a bubble, and what ends both.
func bubble(h http.HandlerFunc) (*Client, func()) {
	l := &pipeListener{make(chan net.Conn), make(chan struct{})}
	srv := &http.Server{Handler: h}
	go srv.Serve(l)
	hc := NewHTTPClient(nil, 10*time.Second, l.dial)
	c := &Client{
		Base: &url.URL{Scheme: "http", Host: "api.test"}, HTTP: hc,
		Token: func(context.Context) (string, error) { return token, nil },
	}
	return c, func() {
		hc.CloseIdleConnections()
		srv.Close()
		time.Sleep(24 * time.Hour) // handlers that sleep end, too
	}
}

func pattern(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n] }
