// Package beamery is a faithful Beamery to test against: client credentials
// in camelCase JSON, the probe of permissions, and the rate limits with their
// headers, as the Skills API's authentication page describes them.
//
// Where the page is silent the Server does the likelier or the stricter
// thing, and a fault makes it do the other one.
package beamery

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// Numbers of the documented service.
const (
	DefaultTokenLife = time.Hour
	DefaultAuthLimit = 30 // logins in a window
	DefaultLimit     = 40 // other requests of a company in a window
	DefaultWindow    = time.Second
)

// The operations, to which a fault can be limited.
const (
	OpLogin       = "login"       // POST /v1/oauth/token
	OpPermissions = "permissions" // GET /v1/oauth/token/permissions
	OpTasks       = "tasks"       // GET /v1/tasks
	OpSkills      = "skills"      // GET /v1/skills
)

// The faults beside those of every cloud.
const (
	ErrorBody      host.Fault = "error-body"
	BadType400     host.Fault = "bad-type-400"
	NoisyNeighbour host.Fault = "noisy-neighbour"
	RemainingZero  host.Fault = "remaining-zero"
	KillOld        host.Fault = "kill-old"
)

var faults = []host.FaultInfo{
	host.Info(ErrorBody, "answer errors with a body of another kind than JSON", "text or empty", "empty", host.OneOf("text", "empty")),
	host.Info(BadType400, "answer a login that is no JSON with 400 instead of 415", "", "", nil),
	host.Info(NoisyNeighbour, "let others of the company spend so much of each window", "requests", "40", host.IsSize),
	host.Info(RemainingZero, "say x-ratelimit-remaining: 0 on answers that are not refused", "", "", nil),
	host.Info(KillOld, "let a login end the client's earlier tokens", "", "", nil),
}

// Options are what a Server cannot change later.
type Options struct {
	TokenLife time.Duration // DefaultTokenLife if zero
	AuthLimit int           // DefaultAuthLimit if zero
	Limit     int           // DefaultLimit if zero
	Window    time.Duration // DefaultWindow if zero
	Seed      uint64        // of the draws for faults with a probability
}

// A Client is one application of a company.
type Client struct {
	ID          string   `json:"client_id"`
	Secret      string   `json:"client_secret"`
	Roles       []string `json:"roles,omitempty"`
	Permissions []string `json:"permissions,omitempty"` // such as read:tasks
}

// A Server is one Beamery, all of whose clients are of one company.
type Server struct {
	*host.Host
	*host.Tokens[Client]
	opt Options
	key []byte

	mu      sync.Mutex
	clients map[string]Client
	serial  int
	auth    bucket
	rest    bucket
}

// A bucket counts the requests of a fixed window.
type bucket struct {
	began time.Time
	used  int
}

// New returns a Server without clients. Close must end it.
func New(opt Options) *Server {
	opt.TokenLife = cmp.Or(opt.TokenLife, DefaultTokenLife)
	opt.AuthLimit = cmp.Or(opt.AuthLimit, DefaultAuthLimit)
	opt.Limit = cmp.Or(opt.Limit, DefaultLimit)
	opt.Window = cmp.Or(opt.Window, DefaultWindow)
	s := &Server{opt: opt, key: []byte(host.Secret(32)), clients: map[string]Client{}}
	s.Host = host.New(host.Options{
		Name: "beamery", Faults: faults, Operations: []string{OpLogin, OpPermissions, OpTasks, OpSkills},
		Hosts: []string{"frontier.beamery.com"}, Seed: opt.Seed, Before: s.limit,
	})
	s.Tokens = host.NewTokens[Client](s.Host, 0)
	s.Handle("POST /v1/oauth/token", OpLogin, s.login)
	s.Handle("GET /v1/oauth/token/permissions", OpPermissions, s.authorized("", s.permissions))
	s.Handle("GET /v1/tasks", OpTasks, s.authorized("read:tasks", s.list))
	s.Handle("GET /v1/skills", OpSkills, s.authorized("read:skills", s.list))
	s.Handle("/", "", func(w http.ResponseWriter, r *http.Request) { s.refuse(w, r, http.StatusNotFound, "no such route") })
	return s
}

// AddClient makes a client, or replaces the one of that id.
func (s *Server) AddClient(c Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
}

// limit counts a request, sets the three headers that every answer has, and
// refuses what is above the limit.
func (s *Server) limit(w http.ResponseWriter, r *http.Request, op string) bool {
	quota, of := s.opt.Limit, &s.rest
	if op == OpLogin {
		quota, of = s.opt.AuthLimit, &s.auth
	}
	now := s.Now()
	neighbours := 0
	if arg, ok := s.Hit(NoisyNeighbour, op); ok && op != OpLogin {
		neighbours, _ = strconv.Atoi(arg)
	}
	s.mu.Lock()
	if now.Sub(of.began) >= s.opt.Window || now.Before(of.began) {
		*of = bucket{began: now.Truncate(s.opt.Window)}
	}
	of.used++
	left := quota - of.used - neighbours
	until := of.began.Add(s.opt.Window)
	s.mu.Unlock()
	refused := left < 0
	if _, ok := s.Hit(RemainingZero, op); ok {
		left = 0
	}
	// Whole seconds: a client that waits for them waits long enough.
	reset := time.Duration(max(1, (until.Sub(now)+time.Second-1)/time.Second)) * time.Second
	w.Header()["x-ratelimit-reset"] = []string{strconv.Itoa(int(reset / time.Second))}
	w.Header()["x-ratelimit-remaining"] = []string{strconv.Itoa(max(0, left))}
	w.Header()["x-ratelimit-limit"] = []string{fmt.Sprintf("%d;w=%d", quota, max(1, int(s.opt.Window/time.Second)))}
	if left < 1 {
		s.closeWindow(op, now.Add(reset))
	}
	if refused {
		s.refuse(w, r, http.StatusTooManyRequests, "rate limit exceeded")
	}
	return !refused
}

// closeWindow says that clients were told to wait: for logins, or for all else.
func (s *Server) closeWindow(op string, until time.Time) {
	if op == OpLogin {
		s.CloseWindow(op, until)
		return
	}
	for _, op := range []string{OpPermissions, OpTasks, OpSkills} {
		s.CloseWindow(op, until)
	}
}

// refuse answers with an error, whose body is documented nowhere.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, message string) {
	switch body, _ := s.Hit(ErrorBody, host.Operation(r)); body {
	case "empty":
		w.WriteHeader(status)
	case "text":
		http.Error(w, message, status)
	default:
		s.Reply(w, r, status, map[string]any{"error": http.StatusText(status), "message": message})
	}
}

// login is POST /v1/oauth/token.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, why string) {
		s.Note(host.Event{Kind: host.KindRefuse, Op: OpLogin, Status: status, Why: why})
		s.refuse(w, r, status, why)
	}
	fields, ok := host.Object(r)
	id, secret := host.Text(fields, "clientId"), host.Text(fields, "clientSecret")
	s.mu.Lock()
	c := s.clients[id]
	s.mu.Unlock()
	_, plain := s.Hit(BadType400, OpLogin)
	switch {
	case !ok && !plain:
		refuse(http.StatusUnsupportedMediaType, "the body is no JSON object")
	case id == "" || secret == "":
		refuse(http.StatusBadRequest, "clientId and clientSecret must be strings")
	case c.ID == "" || c.Secret != secret:
		refuse(http.StatusUnauthorized, "clientId or clientSecret is wrong")
	default:
		s.Reply(w, r, http.StatusOK, map[string]any{
			"access_token": s.issue(c), "token_type": "Bearer", "expires_in": int(s.opt.TokenLife / time.Second),
		})
	}
}

func (s *Server) issue(c Client) string {
	now := s.Now()
	expires := now.Add(s.opt.TokenLife).Truncate(time.Second)
	s.mu.Lock()
	s.serial++
	claims := map[string]any{"sub": c.ID, "iat": now.Unix(), "exp": expires.Unix(), "jti": strconv.Itoa(s.serial)}
	s.mu.Unlock()
	text := host.SignHS256(claims, s.key)
	if _, ok := s.Hit(KillOld, OpLogin); ok {
		s.RevokeAll(func(owner Client) bool { return owner.ID == c.ID })
	}
	s.Put(text, c, expires)
	s.Note(host.Event{Kind: host.KindIssue, Op: OpLogin, Token: host.Tail(text)})
	return text
}

// authorized lets requests with a token and a permission through to h.
func (s *Server) authorized(permission string, h func(http.ResponseWriter, *http.Request, Client)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, valid := s.Admit(host.Bearer(r))
		switch {
		case !valid:
			s.refuse(w, r, http.StatusUnauthorized, "the token is missing, expired or invalid")
		case permission != "" && !slices.Contains(c.Permissions, permission):
			s.refuse(w, r, http.StatusForbidden, "the permission "+permission+" is missing")
		default:
			h(w, r, c)
		}
	}
}

func (s *Server) permissions(w http.ResponseWriter, r *http.Request, c Client) {
	s.Reply(w, r, http.StatusOK, map[string]any{"roles": append([]string{}, c.Roles...), "permissions": append([]string{}, c.Permissions...)})
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, _ Client) {
	s.Reply(w, r, http.StatusOK, []any{})
}
