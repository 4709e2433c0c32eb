package api

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// maxHops is how many redirects one call follows.
const maxHops = 5

// A policy says which redirects a call follows.
type policy int

const (
	// stay follows no redirect: the body of the request is a secret.
	stay policy = iota
	// sameHost follows redirects within the scheme, host and port it called.
	sameHost
	// anyHost also follows to others, without the token: object storage.
	anyHost
)

// check is a CheckRedirect for p. It refuses by letting net/http return the
// redirect itself, and says why in refused.
func (p policy) check(refused *string) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if *refused = p.refuse(req, via); *refused != "" {
			return http.ErrUseLastResponse
		}
		// net/http has copied every header of the first request by now. Once
		// the chain has left our host it gets the token no more, not even on
		// the way back: whoever sent it back chose the path.
		if !stayed(req, via) {
			req.Header.Del(tokenHeader)
		}
		req.Header.Del("Referer") // may hold a signed URL
		return nil
	}
}

// refuse returns why req, which follows via, must not be sent, or "".
func (p policy) refuse(req *http.Request, via []*http.Request) string {
	first := via[0]
	switch {
	case p == stay:
		return "this call follows no redirect"
	case len(via) > maxHops:
		return "more redirects than are followed"
	case req.Method != first.Method:
		return "it would turn " + first.Method + " into " + req.Method
	case sameOrigin(req.URL, first.URL):
		return ""
	case p == sameHost:
		return "another host"
	case req.URL.Scheme == "https":
		return ""
	case req.URL.Scheme == "http" && loopback(req.URL) && loopback(first.URL):
		return ""
	}
	return "not https"
}

// stayed reports whether req and all before it went to one host.
func stayed(req *http.Request, via []*http.Request) bool {
	for _, r := range via {
		if !sameOrigin(r.URL, req.URL) {
			return false
		}
	}
	return true
}

// sameOrigin reports whether a and b agree in scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if strings.EqualFold(u.Scheme, "https") {
		return "443"
	}
	return "80"
}

// loopback reports whether u names this machine.
func loopback(u *url.URL) bool {
	host := u.Hostname()
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// redirected reports whether status is a redirect rather than an answer.
func redirected(status int) bool {
	return status >= 300 && status <= 399 && status != http.StatusNotModified
}
