package placeos

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// verifiedLife is of the cookie that says that a browser has been here.
const verifiedLife = 19 * 365 * 24 * time.Hour

// codeLife is how long a code can be exchanged, Doorkeeper's default.
const codeLife = 10 * time.Minute

// A code is what a session was given for an application.
type code struct {
	grant     *grant
	redirect  string
	challenge string
	expires   time.Time
}

// signin is POST /auth/signin: it begins a session, whose cookie it sets.
func (s *Server) signin(w http.ResponseWriter, r *http.Request) {
	p := params(w, r)
	cookie := host.Secret(32)
	now := s.Now()
	s.mu.Lock()
	u := s.users[p.Get("email")]
	good := u != nil && u.Password == p.Get("password") && p.Get("password") != ""
	if good {
		s.sessions[cookie] = session{u, now.Add(s.opt.SessionTimeout)}
	}
	s.mu.Unlock()
	if !good {
		s.Note(host.Event{Kind: host.KindRefuse, Op: OpSignin, Status: http.StatusUnauthorized})
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "user", Value: cookie, Path: "/auth", Expires: now.Add(s.opt.SessionTimeout), Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode})
	http.SetCookie(w, &http.Cookie{Name: "verified", Value: host.Secret(16), Path: "/", Expires: now.Add(verifiedLife), Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode})
	if next := p.Get("continue"); strings.HasPrefix(next, "/") && !strings.HasPrefix(next, "//") {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// logout ends the session and all tokens that the user has had.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if u := s.sessionUser(r); u != nil {
		s.LogOut(u.Email)
		cookie, _ := r.Cookie("user")
		s.mu.Lock()
		delete(s.sessions, cookie.Value)
		s.mu.Unlock()
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// sessionUser returns the user of a session that goes on, else nil.
func (s *Server) sessionUser(r *http.Request) *user {
	cookie, err := r.Cookie("user")
	if err != nil {
		return nil
	}
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if in, ok := s.sessions[cookie.Value]; ok && now.Before(in.expires) {
		return in.user
	}
	return nil
}

// authorize is GET /auth/oauth/authorize. Without a session it redirects too:
// to the page that begins one.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	u := s.sessionUser(r)
	if u == nil {
		http.Redirect(w, r, "/auth/login?continue="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	s.mu.Lock()
	a, ok := s.apps[q.Get("client_id")]
	s.mu.Unlock()
	if !ok || !slices.Contains(a.Redirects, q.Get("redirect_uri")) {
		s.Reply(w, r, http.StatusBadRequest, map[string]string{"error": "invalid_request"}) // never redirect to a stranger
		return
	}
	back, _ := url.Parse(q.Get("redirect_uri"))
	answer := back.Query()
	if state := q.Get("state"); state != "" {
		answer.Set("state", state)
	}
	scopes, why := a.scopes(q.Get("scope"))
	switch {
	case q.Get("response_type") != "code":
		answer.Set("error", "unsupported_response_type")
	case why != nil:
		answer.Set("error", why.code)
	case q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256":
		answer.Set("error", "invalid_code_challenge_method")
	default:
		text := host.Secret(16)
		answer.Set("code", text)
		expires := s.Now().Add(codeLife)
		s.mu.Lock()
		s.codes[text] = &code{&grant{user: u, app: a.ID, scopes: scopes}, q.Get("redirect_uri"), q.Get("code_challenge"), expires}
		s.mu.Unlock()
	}
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}

// exchange takes a code, once.
func (s *Server) exchange(p url.Values) (*grant, *fault) {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	a, why := s.application(p)
	if why != nil {
		return nil, why
	}
	if p.Get("code") == "" || p.Get("redirect_uri") == "" {
		return nil, invalidRequest
	}
	c := s.codes[p.Get("code")]
	if c == nil || c.grant.app != a.ID || c.redirect != p.Get("redirect_uri") || !now.Before(c.expires) {
		return nil, invalidGrant
	}
	if c.challenge != "" && challenge(p.Get("code_verifier")) != c.challenge {
		return nil, invalidGrant
	}
	delete(s.codes, p.Get("code"))
	return c.grant, nil
}

// authority is GET /auth/authority. It is the only call that ends the refresh
// token with which the bearer was made.
func (s *Server) authority(w http.ResponseWriter, r *http.Request) {
	domain, known := s.domain(r)
	if !known {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	g, valid := s.Admit(host.Bearer(r))
	if valid {
		s.mu.Lock()
		old := s.refresh[g.previous]
		ended := old != nil && !old.revoked
		if ended {
			old.revoked = true
		}
		s.mu.Unlock()
		if ended {
			s.Note(host.Event{Kind: host.KindRevoke, Op: OpAuthority, Why: "retired"})
		}
	}
	s.Reply(w, r, http.StatusOK, map[string]any{
		"id": "authority-1", "name": domain, "domain": domain, "description": "", "config": map[string]any{},
		"login_url": "/auth/login?continue={{url}}", "logout_url": "/auth/logout",
		"session": s.sessionUser(r) != nil, "production": true, "token_valid": valid, "version": "v2.0.0",
	})
}
