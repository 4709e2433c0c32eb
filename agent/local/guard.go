package local

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Host is what the client says in its Host header. Requests for another name,
// but for localhost, were meant for somebody else.
const Host = "spoke-zone-agent"

// dataFiles, the adoptions, the logins, the rejections, publish and the proxy are the calls
// that take a body.
const dataFiles = "/v1/data-files"

func takesBody(path string) bool {
	account, ok := strings.CutPrefix(path, "/v1/accounts/")
	return path == dataFiles || path == publishPath || strings.HasPrefix(path, proxyPath) ||
		ok && (strings.HasSuffix(account, "/adopt") || strings.HasSuffix(account, "/login") || strings.HasSuffix(account, "/rejected"))
}

// A call answers one request of a peer that may make it. Its error becomes the
// answer, unless it has begun to answer itself.
type call func(w http.ResponseWriter, r *http.Request, p peer) error

func (c *calls) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", c.everybody(c.status))
	mux.Handle("GET /v1/ota", c.everybody(c.ota))
	mux.Handle("GET /v1/accounts/{account}/token", c.trusted(c.token))
	mux.Handle("GET /v1/accounts/{account}/watch", c.trusted(c.watchAccount))
	mux.Handle("POST /v1/accounts/{account}/rejected", c.trusted(c.rejected))
	mux.Handle(proxyPath+"{account}/", c.trusted(c.proxy))
	mux.Handle("POST /v1/accounts/{account}/renew", c.trusted(c.renew))
	mux.Handle("POST /v1/accounts/{account}/adopt", c.owned(c.adopt))
	mux.Handle("POST /v1/accounts/{account}/login", c.owned(c.login))
	mux.Handle("GET /metrics", c.everybody(c.metrics))
	mux.Handle("POST /v1/ota/{module}/check", c.trusted(c.check))
	mux.Handle("POST /v1/ota/{module}/fetch", c.trusted(c.fetch))
	mux.Handle("POST /v1/ota/{module}/install", c.trusted(c.install))
	mux.Handle("POST /v1/ota/{module}/rollback", c.trusted(c.rollback))
	mux.Handle("POST "+dataFiles, c.trusted(c.add))
	mux.Handle("POST "+publishPath, c.trusted(c.publish))
	mux.Handle("GET "+subscribePath, c.trusted(c.subscribe))
	mux.Handle("/", c.everybody(func(w http.ResponseWriter, r *http.Request, _ peer) error {
		return Errorf(NotFound, "there is no call %s %s", r.Method, shorten(r.URL.Path))
	}))
	return c.guarded(mux)
}

// guarded lets through to h what may come in at all.
func (c *calls) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.running.Add(1)
		defer c.running.Done()
		if err := c.admit(w, r, peerIn(r)); err != nil {
			c.fail(w, r, err)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (c *calls) everybody(f call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r, peerIn(r)); err != nil {
			c.fail(w, r, err)
		}
	})
}

func (c *calls) trusted(f call) http.Handler {
	return c.everybody(func(w http.ResponseWriter, r *http.Request, p peer) error {
		if !c.rights.trusts(p) {
			who := "root"
			if c.Group != "" {
				who += " and members of group " + c.Group
			}
			return Errorf(Denied, "uid %d may not do this: only %s may", p.uid, who)
		}
		return f(w, r, p)
	})
}

// owned keeps out members of the group too: who may choose the token may choose
// which device this is.
func (c *calls) owned(f call) http.Handler {
	return c.everybody(func(w http.ResponseWriter, r *http.Request, p peer) error {
		if !c.rights.owns(p) {
			return Errorf(Denied, "uid %d may not do this: only root may", p.uid)
		}
		return f(w, r, p)
	})
}

func peerIn(r *http.Request) peer { return r.Context().Value(peerKey{}).(peer) }

// admit refuses what no honest local program sends: a request that a web page
// made (it carries Origin or Referer), one for another host (DNS rebinding
// through a proxy to the socket), and a flood.
func (c *calls) admit(w http.ResponseWriter, r *http.Request, p peer) error {
	if r.ContentLength != 0 { // a body, perhaps of unknown length
		c.deadline(http.NewResponseController(w).SetReadDeadline)
	}
	switch {
	case r.Header.Get("Origin") != "" || r.Header.Get("Referer") != "":
		return Errorf(Denied, "requests of web pages are refused")
	case r.Host != Host && r.Host != "localhost":
		return Errorf(Denied, "host %q is not served here, only %s and localhost", shorten(r.Host), Host)
	case r.URL.Path != publishPath && !c.limiterOf(p).allow(p.uid, time.Now()):
		return Errorf(Busy, "uid %d asks too often", p.uid)
	case r.ContentLength != 0 && !takesBody(r.URL.Path):
		return Errorf(Invalid, "%s takes no body", shorten(r.URL.Path))
	}
	return nil
}

// deadline gives the peer stallTimeout from now on for what set is about. None
// is ever set for reading while no body is expected: the server reads on to
// notice that a peer has left, and would take the deadline for that.
func (c *calls) deadline(set func(time.Time) error) {
	if err := set(time.Now().Add(stallTimeout)); err != nil {
		c.Log.Debug("no deadline for a local request", "err", err)
	}
}

// fail answers with err.
func (c *calls) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	c.Log.Debug("local request failed", "method", r.Method, "path", r.URL.Path, "err", e)
	if e.Code == Busy || e.Code == Unavailable {
		w.Header().Set("Retry-After", "5")
	}
	c.answer(w, statusOf[e.Code], e)
}

// answer writes v. An error means that the peer is gone: there is no one to
// tell.
func (c *calls) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	c.deadline(http.NewResponseController(w).SetWriteDeadline)
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		c.Log.Debug("local answer not written", "err", err)
	}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// isName bounds the length apart from the pattern: a counted repetition is
// compiled to as many steps, and they were 0.3 MB of the daemon's memory.
func isName(s string) bool { return len(s) <= 64 && nameForm.MatchString(s) }

// pathName returns the part of the path called key, if it is a name.
func pathName(r *http.Request, key string) (string, error) {
	name := r.PathValue(key)
	if !isName(name) {
		return "", Errorf(Invalid, "%s %q: a name has letters, digits, dot, dash and underscore, 64 at most", key, shorten(name))
	}
	return name, nil
}

func shorten(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
