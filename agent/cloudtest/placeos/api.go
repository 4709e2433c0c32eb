package placeos

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// An identity is who asks, and how the API shows it.
type identity struct {
	user    *user
	scopes  []string
	payload map[string]any
}

// authenticated lets requests with a token or key through to h. A scope is
// needed unless it is empty; admin needs a user that is one.
func (s *Server) authenticated(scope string, h func(http.ResponseWriter, *http.Request, identity)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		domain, _ := s.domain(r)
		id, why := s.identify(r, domain, true)
		switch {
		case why != "":
			s.Reply(w, r, http.StatusUnauthorized, map[string]string{"error": why})
		case scope == "admin" && !id.user.Admin,
			scope != "" && scope != "admin" && !slices.Contains(id.scopes, scope):
			w.WriteHeader(http.StatusForbidden)
		default:
			h(w, r, id)
		}
	}
}

// credentials returns the API key or the bearer of a request. A key wins;
// either is looked for in the header, then the query, then the cookies.
func credentials(r *http.Request) (key, bearer string) {
	find := func(header, query string) string {
		if header != "" {
			return header
		}
		if text := r.URL.Query().Get(query); text != "" {
			return text
		}
		if c, err := r.Cookie(query); err == nil {
			return c.Value
		}
		return ""
	}
	header := r.Header.Get("Authorization")
	for _, prefix := range []string{"Bearer ", "Token "} {
		header = strings.TrimPrefix(header, prefix)
	}
	return find(r.Header.Get("X-API-Key"), "api-key"), find(header, "bearer_token")
}

// identify returns who asks, or the API's reason why it is nobody.
func (s *Server) identify(r *http.Request, domain string, fresh bool) (identity, string) {
	key, bearer := credentials(r)
	if key == "" && strings.Count(bearer, ".") == 1 {
		key = bearer // the broker sends either in one place
	}
	if key != "" {
		return s.byKey(key, domain)
	}
	return s.byToken(bearer, domain, fresh)
}

// byToken checks a token as the API does: signature, expiry if it is to be
// fresh, domain, logout.
func (s *Server) byToken(text, domain string, fresh bool) (identity, string) {
	g, known := s.Known(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case text == "":
		return identity{}, "unable to find token"
	case !known:
		return identity{}, "Signature verification failed"
	case fresh && !s.Tokens.Valid(text):
		return identity{}, "Signature is expired"
	case !strings.EqualFold(domainOf(text), domain):
		return identity{}, "authority domain does not match token's"
	case g.loggedOut():
		return identity{}, "logged out"
	}
	return identity{g.user, g.scopes, payload(text)}, ""
}

// payload are the claims of a token that this server has signed.
func payload(token string) map[string]any {
	claims := map[string]any{}
	if parts := strings.Split(token, "."); len(parts) == 3 {
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		json.Unmarshal(text, &claims)
	}
	return claims
}

// domainOf is the authority that a token was made for.
func domainOf(token string) string { return host.Text(payload(token), "aud") }

// byKey checks an API key. What it shows of its life is made up.
func (s *Server) byKey(text, domain string) (identity, string) {
	id, secret, _ := strings.Cut(text, ".")
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.keys[id]
	u := s.users[k.User]
	switch {
	case !ok || k.Secret != secret || u == nil:
		return identity{}, "unknown X-API-Key"
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return identity{}, "API key has expired"
	}
	g := &grant{user: u, scopes: k.Scopes, issued: now.Add(-5 * time.Minute)}
	shown := claims(g, domain, now.Add(time.Hour))
	delete(shown, "jti")
	return identity{u, k.Scopes, shown}, ""
}

func (s *Server) inspect(w http.ResponseWriter, r *http.Request, id identity) {
	s.Reply(w, r, http.StatusOK, id.payload)
}

func (s *Server) current(w http.ResponseWriter, r *http.Request, id identity) {
	s.Reply(w, r, http.StatusOK, map[string]any{"id": id.user.ID, "email": id.user.Email, "name": id.user.Name})
}

// mqttUser is what the broker asks about a CONNECT.
func (s *Server) mqttUser(w http.ResponseWriter, r *http.Request) {
	domain, _ := s.domain(r)
	id, why := s.identify(r, domain, true)
	s.verdict(w, why == "" && id.mayRead())
}

// mqttAccess is what the broker asks about a topic. The connection is
// established, so the expiry of its token does not matter.
func (s *Server) mqttAccess(w http.ResponseWriter, r *http.Request) {
	domain, _ := s.domain(r)
	id, why := s.identify(r, domain, false)
	access := params(w, r).Get("acc")
	s.verdict(w, why == "" && (access == "1" || access == "4" || access == "2" && id.mayWrite()))
}

func (s *Server) verdict(w http.ResponseWriter, ok bool) {
	if !ok {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (i identity) mayRead() bool {
	return slices.ContainsFunc(i.scopes, func(scope string) bool {
		return slices.Contains([]string{"public", "mqtt", "public.read", "mqtt.read"}, scope)
	})
}

func (i identity) mayWrite() bool {
	return (i.user.Support || i.user.Admin) && slices.ContainsFunc(i.scopes, func(scope string) bool {
		return scope == "mqtt" || scope == "mqtt.write"
	})
}
