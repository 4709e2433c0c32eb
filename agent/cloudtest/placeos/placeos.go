// Package placeos is a faithful PlaceOS to test against: the OAuth server with
// its sessions, codes, PKCE and rotating refresh tokens, the API's ways to take
// a token or a key, and an MQTT broker that takes the token as its user name,
// as the vendor's pages describe them and its published source code does them.
//
// Where a deployment may differ, a fault makes the Server differ.
package placeos

import (
	"cmp"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// Times of the documented service.
const (
	DefaultTokenLife      = 2 * time.Hour
	DefaultSessionTimeout = 1440 * time.Minute
)

// The operations, to which a fault can be limited.
const (
	OpToken     = "token"     // POST /auth/oauth/token, whatever the grant
	OpSignin    = "signin"    // POST /auth/signin
	OpAuthorize = "authorize" // GET /auth/oauth/authorize
	OpAuthority = "authority" // GET /auth/authority
	OpRevoke    = "revoke"    // POST /auth/oauth/revoke
	OpInspect   = "inspect"   // GET /api/engine/v2/api_keys/inspect
	OpAPI       = "api"       // the rest of the API
	OpMQTT      = "mqtt"      // what the broker asks the API
)

// The faults beside those of every cloud.
const (
	RevokeAtOnce  host.Fault = "revoke-at-once"
	FewerScopes   host.Fault = "fewer-scopes"
	RefuseRefresh host.Fault = "refuse-refresh"
	RefuseConnect host.Fault = "refuse-connect"
)

var faults = []host.FaultInfo{
	host.Info(RevokeAtOnce, "revoke a refresh token when it is used; default: when a descendant comes to /auth/authority", "", "", nil),
	host.Info(FewerScopes, "echo the scope public alone, as the vendor's page shows", "", "", nil),
	host.Info(RefuseRefresh, "answer every refresh with invalid_grant", "", "", nil),
	host.Info(RefuseConnect, "refuse CONNECT with a code", "3, 4 or 5", "5", host.OneOf("3", "4", "5")),
}

// Options are what a Server cannot change later.
type Options struct {
	TokenLife      time.Duration    // DefaultTokenLife if zero
	SessionTimeout time.Duration    // DefaultSessionTimeout if zero
	Domain         string           // the authority's; whatever name it is called by if empty
	Broker         cloudtest.Broker // keeps the MQTT sessions; cloudtest.NewPeer() if nil
	Seed           uint64           // of the draws for faults with a probability
}

// A User is somebody who may sign in.
type User struct {
	ID       string   `json:"id"` // user-EMAIL if empty
	Email    string   `json:"email"`
	Password string   `json:"password"`
	Name     string   `json:"name"`
	Support  bool     `json:"support,omitempty"`
	Admin    bool     `json:"admin,omitempty"`
	Roles    []string `json:"roles,omitempty"`
}

// permissions are the bits of the claim u.p.
func (u User) permissions() int {
	bits := 0
	if u.Support {
		bits |= 1
	}
	if u.Admin {
		bits |= 2
	}
	return bits
}

// An Application is a client that may ask for tokens.
type Application struct {
	ID        string   `json:"client_id"`
	Secret    string   `json:"client_secret,omitempty"` // of a confidential application
	Redirects []string `json:"redirects,omitempty"`
	Scopes    []string `json:"scopes,omitempty"` // public if there are none
}

// A Key is an API key. Clients send ID.SECRET.
type Key struct {
	ID      string
	Secret  string
	User    string // e-mail address
	Scopes  []string
	Expires time.Time // never if zero
}

// A Server is one PlaceOS.
type Server struct {
	*host.Host
	*host.Tokens[*grant] // access tokens
	opt                  Options
	broker               cloudtest.Broker
	links                sync.WaitGroup

	mu       sync.Mutex
	users    map[string]*user // by e-mail address
	apps     map[string]Application
	keys     map[string]Key // by id
	refresh  map[string]*grant
	codes    map[string]*code
	sessions map[string]session // by the cookie user
	conns    map[net.Conn]string
	connects host.Ring[Connect]
}

type user struct {
	User
	loggedOut time.Time
}

// A grant is one pair of tokens.
type grant struct {
	user     *user
	app      string
	scopes   []string
	issued   time.Time
	refresh  string
	previous string // the refresh token that it was made with
	revoked  bool   // its refresh token
}

type session struct {
	user    *user
	expires time.Time
}

// New returns a Server without users. Close must end it.
func New(opt Options) *Server {
	opt.TokenLife = cmp.Or(opt.TokenLife, DefaultTokenLife)
	opt.SessionTimeout = cmp.Or(opt.SessionTimeout, DefaultSessionTimeout)
	s := &Server{
		opt: opt, broker: opt.Broker, users: map[string]*user{}, apps: map[string]Application{}, keys: map[string]Key{},
		refresh: map[string]*grant{}, codes: map[string]*code{}, sessions: map[string]session{}, conns: map[net.Conn]string{},
	}
	if s.broker == nil {
		s.broker = cloudtest.NewPeer()
	}
	s.Host = host.New(host.Options{
		Name: "placeos", Faults: faults, Hosts: []string{"placeos.example"}, Seed: opt.Seed, Before: identify,
		Operations: []string{OpToken, OpSignin, OpAuthorize, OpAuthority, OpRevoke, OpInspect, OpAPI, OpMQTT},
	})
	s.Tokens = host.NewTokens[*grant](s.Host, time.Second)
	s.Handle("POST /auth/oauth/token", OpToken, s.token)
	s.Handle("POST /auth/oauth/revoke", OpRevoke, s.revoke)
	s.Handle("GET /auth/oauth/authorize", OpAuthorize, s.authorize)
	s.Handle("POST /auth/signin", OpSignin, s.signin)
	s.Handle("GET /auth/logout", OpSignin, s.logout)
	s.Handle("GET /auth/authority", OpAuthority, s.authority)
	s.Handle("GET /auth/login", "", func(w http.ResponseWriter, r *http.Request) { host.Page(w, http.StatusOK, "Sign in") })
	s.Handle("GET /api/engine/v2/api_keys/inspect", OpInspect, s.authenticated("", s.inspect))
	s.Handle("GET /api/engine/v2/users/current", OpAPI, s.authenticated("public", s.current))
	s.Handle("GET /api/engine/v2/cluster", OpAPI, s.authenticated("admin", s.current))
	s.Handle("POST /api/engine/v2/mqtt/user", OpMQTT, s.mqttUser)
	s.Handle("POST /api/engine/v2/mqtt/access", OpMQTT, s.mqttAccess)
	s.Handle("/", "", func(w http.ResponseWriter, r *http.Request) {
		s.Reply(w, r, http.StatusNotFound, map[string]string{"error": "not found"})
	})
	return s
}

// Close ends every connection and waits for all that the Server had started.
func (s *Server) Close() {
	s.Host.Close()
	s.DropMQTT()
	s.links.Wait()
	s.broker.Close()
}

// AddUser makes a user, or replaces the one of that e-mail address.
func (s *Server) AddUser(u User) {
	u.ID = cmp.Or(u.ID, "user-"+u.Email)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[u.Email] = &user{User: u}
}

// AddApplication makes an application, or replaces the one of that id.
func (s *Server) AddApplication(a Application) {
	if len(a.Scopes) == 0 {
		a.Scopes = []string{"public"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[a.ID] = a
}

// AddKey makes an API key, or replaces the one of that id.
func (s *Server) AddKey(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[k.ID] = k
}

// LogOut makes the API refuse every token that a user has had until now.
func (s *Server) LogOut(email string) {
	now := s.Now()
	s.mu.Lock()
	if u := s.users[email]; u != nil {
		u.loggedOut = now
	}
	s.mu.Unlock()
	s.Note(host.Event{Kind: host.KindRevoke, Why: "logged out"})
}

// CanRefresh reports whether a refresh token would be taken now.
func (s *Server) CanRefresh(refresh string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.refresh[refresh]
	return g != nil && !g.revoked
}

// Refreshable returns how many refresh tokens would be taken now.
func (s *Server) Refreshable() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, g := range s.refresh {
		if !g.revoked {
			n++
		}
	}
	return n
}

// Valid reports whether the API would take an access token now, called by the
// authority's name.
func (s *Server) Valid(token string) bool {
	g, ok := s.Admit(token)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !g.loggedOut()
}

// loggedOut reports whether the user has logged out since. The caller holds
// the server's mutex.
func (g *grant) loggedOut() bool {
	return !g.user.loggedOut.IsZero() && !g.issued.After(g.user.loggedOut)
}

// identify gives each answer its number, the client's if it sent one.
func identify(w http.ResponseWriter, r *http.Request, _ string) bool {
	w.Header().Set("X-Request-ID", cmp.Or(r.Header.Get("X-Request-ID"), host.Secret(8)))
	return true
}

// domain is the authority that a request came for, without a port.
func (s *Server) domain(r *http.Request) (name string, known bool) {
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = r.Host
	}
	return name, s.opt.Domain == "" || strings.EqualFold(name, s.opt.Domain)
}
