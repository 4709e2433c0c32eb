package placeos

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// maxForm bounds the body of the token call.
const maxForm = 64 << 10

// params are a request's as Rails sees them: from the query and from a body of
// JSON, of a form, or of form data, which wins.
func params(w http.ResponseWriter, r *http.Request) url.Values {
	values := r.URL.Query()
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	switch typ, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); typ {
	case "application/json":
		object, _ := host.Object(r)
		for name := range object {
			values.Set(name, host.Text(object, name))
		}
	case "multipart/form-data":
		r.ParseMultipartForm(maxForm) // what cannot be read is missing
		if r.MultipartForm != nil {
			for name, v := range r.MultipartForm.Value {
				values[name] = v
			}
		}
	default:
		r.ParseForm()
		for name, v := range r.PostForm {
			values[name] = v
		}
	}
	if id, secret, ok := r.BasicAuth(); ok {
		if values.Get("client_id") != "" && values.Get("client_secret") != "" {
			values.Set("two_ways", "true")
		}
		values.Set("client_id", id)
		values.Set("client_secret", secret)
	}
	return values
}

// fault is an error of the token call.
type fault struct{ code, description string }

var (
	invalidClient  = &fault{"invalid_client", "Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method."}
	invalidGrant   = &fault{"invalid_grant", "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client."}
	invalidScope   = &fault{"invalid_scope", "The requested scope is invalid, unknown, or malformed."}
	invalidRequest = &fault{"invalid_request", "The request is missing a required parameter, includes an unsupported parameter value, or is otherwise malformed."}
	badGrantType   = &fault{"unsupported_grant_type", "The authorization grant type is not supported by the authorization server."}
)

// token is POST /auth/oauth/token.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("Pragma", "no-cache")
	p := params(w, r)
	domain, known := s.domain(r)
	g, why := (*grant)(nil), invalidRequest
	switch kind := p.Get("grant_type"); {
	case !known:
		w.WriteHeader(http.StatusNotFound)
		return
	case kind == "" || p.Get("two_ways") != "":
	case kind == "password":
		g, why = s.password(p)
	case kind == "authorization_code":
		g, why = s.exchange(p)
	case kind == "refresh_token":
		g, why = s.rotate(p)
	default:
		why = badGrantType
	}
	if why != nil {
		s.refuseToken(w, r, why)
		return
	}
	s.Reply(w, r, http.StatusOK, s.issue(g, domain))
}

func (s *Server) refuseToken(w http.ResponseWriter, r *http.Request, why *fault) {
	status := http.StatusBadRequest
	if why == invalidClient {
		status = http.StatusUnauthorized
	}
	s.Note(host.Event{Kind: host.KindRefuse, Op: OpToken, Status: status, Why: why.code})
	w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=\"Doorkeeper\", error=%q, error_description=%q", why.code, why.description))
	s.Reply(w, r, status, map[string]string{"error": why.code, "error_description": why.description})
}

// application returns the client of a request. The caller holds s.mu.
func (s *Server) application(p url.Values) (Application, *fault) {
	a, ok := s.apps[p.Get("client_id")]
	if !ok || a.Secret != "" && a.Secret != p.Get("client_secret") {
		return Application{}, invalidClient
	}
	return a, nil
}

// scopes are those asked for, public if none are.
func (a Application) scopes(asked string) ([]string, *fault) {
	scopes := strings.Fields(asked)
	if len(scopes) == 0 {
		return []string{"public"}, nil
	}
	for _, scope := range scopes {
		if !slices.Contains(a.Scopes, scope) {
			return nil, invalidScope
		}
	}
	return scopes, nil
}

func (s *Server) password(p url.Values) (*grant, *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, why := s.application(p)
	if why != nil {
		return nil, why
	}
	u := s.users[p.Get("username")]
	if u == nil || u.Password != p.Get("password") {
		return nil, invalidGrant
	}
	scopes, why := a.scopes(p.Get("scope"))
	if why != nil {
		return nil, why
	}
	return &grant{user: u, app: a.ID, scopes: scopes}, nil
}

// rotate makes a new pair of a refresh token, which stays usable until a
// descendant's access token comes to /auth/authority.
func (s *Server) rotate(p url.Values) (*grant, *fault) {
	_, refused := s.Hit(RefuseRefresh, OpToken)
	_, atOnce := s.Hit(RevokeAtOnce, OpToken)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Get("refresh_token") == "" {
		return nil, invalidRequest
	}
	old := s.refresh[p.Get("refresh_token")]
	if p.Get("client_id") == "" && old != nil {
		return nil, invalidGrant
	}
	a, why := s.application(p)
	switch {
	case why != nil:
		return nil, why
	case refused || old == nil || old.revoked:
		return nil, invalidGrant
	case old.app != a.ID:
		return nil, invalidClient
	}
	scopes := old.scopes
	if asked := p.Get("scope"); asked != "" {
		if scopes, why = (Application{Scopes: old.scopes}).scopes(asked); why != nil {
			return nil, why
		}
	}
	old.revoked = atOnce
	return &grant{user: old.user, app: a.ID, scopes: scopes, previous: old.refresh}, nil
}

// issue makes the tokens of a grant and returns the answer.
func (s *Server) issue(g *grant, domain string) map[string]any {
	g.issued = s.Now().Truncate(time.Second)
	expires := g.issued.Add(s.opt.TokenLife)
	g.refresh = base64.RawURLEncoding.EncodeToString([]byte(host.Secret(24)))
	access := host.SignRS256(claims(g, domain, expires))
	s.Put(access, g, expires)
	s.mu.Lock()
	s.refresh[g.refresh] = g
	s.mu.Unlock()
	kind := host.KindIssue
	if g.previous != "" {
		kind = host.KindRenew
	}
	s.Note(host.Event{Kind: kind, Op: OpToken, Token: host.Tail(access)})
	scope := strings.Join(g.scopes, " ")
	if _, ok := s.Hit(FewerScopes, OpToken); ok {
		scope = "public"
	}
	return map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(s.opt.TokenLife / time.Second),
		"refresh_token": g.refresh, "scope": scope, "created_at": g.issued.Unix(),
	}
}

// claims are an access token's, as the server's JWT initializer sets them.
func claims(g *grant, domain string, expires time.Time) map[string]any {
	return map[string]any{
		"iss": "POS", "iat": g.issued.Unix(), "exp": expires.Unix(), "jti": uuid(), "aud": domain,
		"scope": g.scopes, "sub": g.user.ID,
		"u": map[string]any{"n": g.user.Name, "e": g.user.Email, "p": g.user.permissions(), "r": append([]string{}, g.user.Roles...)},
	}
}

func uuid() string {
	h := host.Secret(16)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:]
}

// challenge is the S256 challenge of a verifier, by RFC 7636.
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// revoke is POST /auth/oauth/revoke. The API does not ask for what it
// revokes, only the refresh does.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	p := params(w, r)
	s.mu.Lock()
	_, why := s.application(p)
	if g := s.refresh[p.Get("token")]; why == nil && g != nil && g.app == p.Get("client_id") {
		g.revoked = true
	}
	s.mu.Unlock()
	if why != nil {
		s.Reply(w, r, http.StatusForbidden, map[string]string{"error": "unauthorized_client", "error_description": "You are not authorized to revoke this token"})
		return
	}
	s.Reply(w, r, http.StatusOK, map[string]any{})
}
