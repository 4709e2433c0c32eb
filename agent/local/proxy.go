package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	proxyPath     = "/v1/proxy/"
	maxRepeatable = 64 << 10         // bytes of a body that is kept to send it again
	maxForwarded  = 32               // requests under way at a time, of all peers
	silence       = 10 * time.Minute // in the middle of an answer of a cloud
)

// An Upstream is the API of one account, as the proxy needs it.
type Upstream struct {
	Base *url.URL // where the account's calls begin; nothing is sent elsewhere
	// Send waits for a token and for the account's turn under its rate limit,
	// puts the token into the header as the account's cloud wants it, and sends
	// the request once, following no redirect. It returns the token.
	Send func(*http.Request) (res *http.Response, token string, err error)
	// Refused is told that the cloud answered 401 to a request with the token,
	// and acts as the account's profile says. It returns true when there is
	// another token now, so that the request may be sent again.
	Refused func(ctx context.Context, token string) bool
}

// credentials are what a request must not bring along: the agent's own takes
// their place.
var credentials = []string{"Authorization", "Proxy-Authorization", "X-Api-Key", "X-Access-Token", "Cookie"}

// parameters are the same in a query.
var parameters = []string{"access_token", "bearer_token", "api-key", "api_key"}

// proxy forwards a request to the account's API with the account's token.
func (c *calls) proxy(w http.ResponseWriter, r *http.Request, p peer) error {
	account, err := pathName(r, "account")
	if err != nil {
		return err
	}
	if c.Proxy == nil {
		return Errorf(NotFound, "there is no account %q", account)
	}
	up, err := c.Proxy(account)
	if err != nil {
		return err
	}
	target, err := targetOf(up.Base, account, r.URL)
	switch {
	case err != nil:
		return err
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace || r.Header.Get("Upgrade") != "":
		return Errorf(Invalid, "the proxy forwards neither CONNECT nor TRACE nor an upgrade")
	case r.ContentLength > c.maxBody():
		return Errorf(TooLarge, "%d bytes are more than the %d that one request may have", r.ContentLength, c.maxBody())
	}
	if c.forwarded.Add(1) > maxForwarded {
		c.forwarded.Add(-1)
		return Errorf(Busy, "%d requests are under way to the clouds", maxForwarded)
	}
	defer c.forwarded.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	quiet := time.AfterFunc(time.Hour, cancel) // for all before the answer, whose parts have bounds of their own
	defer quiet.Stop()
	out, repeat, err := c.outgoing(w, r.WithContext(ctx))
	if err != nil {
		return err
	}
	c.audit.note(c.Log, account, "proxy", p, time.Now())
	var failed error
	forward := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = target, target.Host
			for _, name := range credentials {
				pr.Out.Header.Del(name)
			}
		},
		Transport:     &courier{Upstream: up, again: repeat},
		FlushInterval: -1, // at once: a program may wait for each event
		ErrorLog:      slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		ErrorHandler:  func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ModifyResponse: func(res *http.Response) error {
			res.Body = &watched{res.Body, quiet}
			return c.incoming(res, up.Base, account)
		},
	}
	forward.ServeHTTP(&steadyWriter{ResponseWriter: w, calls: c}, out)
	var large *http.MaxBytesError
	if errors.As(failed, &large) {
		return Errorf(TooLarge, "more than the %d bytes that one request may have", large.Limit)
	}
	if failed != nil {
		return notYet(failed)
	}
	return nil
}

// targetOf is where a request to the proxy goes: below the account's base.
func targetOf(base *url.URL, account string, asked *url.URL) (*url.URL, error) {
	rest := strings.TrimPrefix(asked.EscapedPath(), proxyPath+account)
	if rest == "" {
		rest = "/"
	}
	plain, err := url.PathUnescape(rest)
	if err != nil || rest[0] != '/' || slices.ContainsFunc(strings.FieldsFunc(plain, func(r rune) bool { return r == '/' || r == '\\' }),
		func(s string) bool { return s == "." || s == ".." }) || strings.ContainsFunc(plain, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, Errorf(Invalid, "the path %q leaves the account's API", shorten(rest))
	}
	prefix := strings.TrimRight(base.EscapedPath(), "/")
	to := &url.URL{Scheme: base.Scheme, Host: base.Host, RawQuery: withoutCredentials(asked.RawQuery)}
	if to.Path, err = url.PathUnescape(prefix + rest); err != nil {
		return nil, Errorf(Invalid, "the path %q is none", shorten(rest))
	}
	to.RawPath = prefix + rest
	return to, nil
}

// withoutCredentials leaves out of a query what some clouds take for a token,
// and nothing else of it changes.
func withoutCredentials(query string) string {
	if query == "" {
		return ""
	}
	parts := strings.Split(query, "&")
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool {
		name, _, _ := strings.Cut(part, "=")
		plain, err := url.QueryUnescape(name)
		return err != nil || slices.Contains(parameters, strings.ToLower(plain))
	}), "&")
}

// outgoing is r as it is forwarded. repeat returns its body once more, false if
// it was too large to keep.
func (c *calls) outgoing(w http.ResponseWriter, r *http.Request) (out *http.Request, repeat func() (io.ReadCloser, bool), err error) {
	out = r.Clone(r.Context())
	none := func() (io.ReadCloser, bool) { return http.NoBody, true }
	if r.ContentLength == 0 {
		out.Body = http.NoBody
		return out, none, nil
	}
	control := http.NewResponseController(w)
	body := &steadyReader{
		Reader: http.MaxBytesReader(w, r.Body, c.maxBody()), more: func() { c.deadline(control.SetReadDeadline) },
		end: func() { // see deadline
			if err := control.SetReadDeadline(time.Time{}); err != nil {
				c.Log.Debug("deadline of a local request not lifted", "err", err)
			}
		},
	}
	if r.ContentLength < 0 || r.ContentLength > maxRepeatable {
		out.Body = io.NopCloser(body)
		return out, func() (io.ReadCloser, bool) { return nil, false }, nil
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, nil, Errorf(Invalid, "the body broke off: %v", err)
	}
	again := func() (io.ReadCloser, bool) { return io.NopCloser(bytes.NewReader(text)), true }
	out.Body, _ = again()
	return out, again, nil
}

// A courier sends one request with the account's token, and once more where the
// first was refused for the token's sake.
type courier struct {
	Upstream
	again func() (io.ReadCloser, bool) // the body, if it can be sent again
}

// RoundTrip is http.RoundTripper's.
func (t *courier) RoundTrip(req *http.Request) (*http.Response, error) {
	res, token, err := t.Send(req.Clone(req.Context()))
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		return res, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), tokenTimeout)
	defer cancel()
	if !t.Refused(ctx, token) {
		return res, nil
	}
	body, ok := t.again()
	if !ok {
		return res, nil
	}
	_ = res.Body.Close() // nothing in it is wanted
	second := req.Clone(req.Context())
	second.Body = body
	res, _, err = t.Send(second)
	return res, err
}

// A watched body puts its timer off for as long as bytes arrive.
type watched struct {
	io.ReadCloser
	timer *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	w.timer.Reset(silence)
	return w.ReadCloser.Read(b)
}

// incoming makes an answer fit for the peer: without the cookies of the agent's
// session, and with redirects inside the API pointing at the proxy. A redirect
// elsewhere is the peer's to follow, without the token.
func (c *calls) incoming(res *http.Response, base *url.URL, account string) error {
	res.Header.Del("Set-Cookie")
	res.Header.Set("Cache-Control", "no-store")
	to, err := res.Location()
	if err != nil {
		return nil // it redirects nowhere
	}
	prefix := strings.TrimRight(base.EscapedPath(), "/")
	rest, inside := strings.CutPrefix(to.EscapedPath(), prefix)
	if to.Scheme == base.Scheme && to.Host == base.Host && inside && (rest == "" || rest[0] == '/') {
		here := url.URL{Path: proxyPath + account, RawQuery: to.RawQuery, Fragment: to.Fragment}
		here.RawPath = here.Path + rest
		if here.Path, err = url.PathUnescape(here.RawPath); err == nil {
			res.Header.Set("Location", here.String())
		}
	}
	return nil
}

// A steadyReader gives its source time for as long as bytes arrive.
type steadyReader struct {
	io.Reader
	more func()
	end  func()
}

func (s *steadyReader) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil {
		s.end()
	} else {
		s.more()
	}
	return n, err
}

// A steadyWriter gives the peer time for each part of an answer.
type steadyWriter struct {
	http.ResponseWriter
	calls *calls
}

// Unwrap is for http.ResponseController.
func (s *steadyWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *steadyWriter) Write(b []byte) (int, error) {
	s.calls.deadline(http.NewResponseController(s.ResponseWriter).SetWriteDeadline)
	return s.ResponseWriter.Write(b)
}
