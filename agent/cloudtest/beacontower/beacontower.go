// Package beacontower is a faithful Beacon Tower to test against: the login
// with user name and password, the API keys, the privileges and the rate
// limit of its REST API, as developer.beacontower.ai describes them.
//
// Where the pages are silent or contradict each other the Server does the
// likelier or the stricter thing, and a fault makes it do the other one.
package beacontower

import (
	"cmp"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// Limits of the documented service. The life of a token is documented nowhere.
const (
	DefaultTokenLife = time.Hour
	DefaultLimit     = 1000 // requests of an account in an hour
)

// The operations, to which a fault can be limited.
const (
	OpLogin  = "login"  // POST /auth/ropc
	OpAssets = "assets" // GET /assets
	OpUpload = "upload" // POST /releases/upload
)

// The faults beside those of every cloud.
const (
	LoginBody   host.Fault = "login-body"
	NoExpiry    host.Fault = "no-expiry"
	FloatExpiry host.Fault = "float-expiry"
	PastExpiry  host.Fault = "past-expiry"
	TokenClock  host.Fault = "token-clock"
	LongToken   host.Fault = "long-token"
	KillOld     host.Fault = "kill-old"
	TakeBoth    host.Fault = "take-both"
)

var faults = []host.FaultInfo{
	host.Info(LoginBody, "answer a refused login with a body of another kind", "empty, html or json", "empty", host.OneOf("empty", "html", "json")),
	host.Info(NoExpiry, "leave exp out of tokens", "", "", nil),
	host.Info(FloatExpiry, "make exp a fraction", "", "", nil),
	host.Info(PastExpiry, "make exp lie in the past when the token arrives, though the token works", "", "", nil),
	host.Info(TokenClock, "take iat and exp from a clock that is off, and judge by the true one", "duration", "24h", host.IsDuration),
	host.Info(LongToken, "fill tokens up with groups", "bytes", "4096", host.IsSize),
	host.Info(KillOld, "let a login end the account's earlier tokens", "", "", nil),
	host.Info(TakeBoth, "take a bearer and an API key in one request; default: 400", "", "", nil),
}

// Options are what a Server cannot change later.
type Options struct {
	Prefix    string        // of every path, such as /v1; none if empty
	TokenLife time.Duration // DefaultTokenLife if zero
	Limit     int           // DefaultLimit if zero
	Seed      uint64        // of the draws for faults with a probability
}

// An Account is somebody who may log in.
type Account struct {
	Username   string   `json:"username"`
	Password   string   `json:"password"`
	APIKey     string   `json:"api_key,omitempty"`
	Privileges []string `json:"privileges,omitempty"` // such as asset_management
}

// A Server is one Beacon Tower.
type Server struct {
	*host.Host
	*host.Tokens[*account]
	opt Options

	mu       sync.Mutex
	accounts map[string]*account // by user name
	serial   int
}

type account struct {
	Account
	window time.Time // when the hour of its limit began
	used   int
}

// New returns a Server without accounts. Close must end it.
func New(opt Options) *Server {
	opt.TokenLife = cmp.Or(opt.TokenLife, DefaultTokenLife)
	opt.Limit = cmp.Or(opt.Limit, DefaultLimit)
	s := &Server{opt: opt, accounts: map[string]*account{}}
	s.Host = host.New(host.Options{
		Name: "beacon-tower", Faults: faults, Operations: []string{OpLogin, OpAssets, OpUpload},
		Hosts: []string{"api.beacontower.ai"}, Seed: opt.Seed,
	})
	s.Tokens = host.NewTokens[*account](s.Host, 0)
	at := func(method, name string) string {
		return strings.TrimSpace(method + " " + path.Join("/", opt.Prefix, name))
	}
	s.Handle(at("POST", "/auth/ropc"), OpLogin, s.login)
	s.Handle(at("GET", "/assets"), OpAssets, s.authorized("asset_management", s.assets))
	s.Handle(at("POST", "/releases/upload"), OpUpload, s.authorized("firmware_management", s.upload))
	s.Handle("/", "", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, http.StatusNotFound, "NotFound", "There is no such route.")
	})
	return s
}

// AddAccount makes an account, or replaces the one of that user name.
func (s *Server) AddAccount(a Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[a.Username] = &account{Account: a}
}

// refuse answers with the error body of the API.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, name, message string) {
	s.Reply(w, r, status, map[string]any{"error": name, "message": message, "details": map[string]any{}})
}

// authorized lets requests of accounts with a privilege through to h.
func (s *Server) authorized(privilege string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		bearer, key := host.Bearer(r), r.Header.Get("X-API-Key")
		if _, both := s.Hit(TakeBoth, host.Operation(r)); bearer != "" && key != "" && !both {
			s.refuse(w, r, http.StatusBadRequest, "BadRequest", "Send a bearer token or an API key.")
			return
		}
		a, _ := s.Admit(bearer)
		s.mu.Lock()
		for _, known := range s.accounts {
			if key != "" && known.APIKey == key {
				a = known
			}
		}
		allowed := a != nil && slices.Contains(a.Privileges, privilege)
		s.mu.Unlock()
		switch {
		case a == nil:
			s.refuse(w, r, http.StatusUnauthorized, "Unauthorized", "The credentials are missing, expired or invalid.")
		case !s.spend(w, r, a):
		case !allowed:
			s.refuse(w, r, http.StatusForbidden, "Forbidden", "The privilege "+privilege+" is missing.")
		default:
			h(w, r)
		}
	}
}

// spend counts a request of an account, sets the headers of its limit, and
// answers 429 and returns false past it.
func (s *Server) spend(w http.ResponseWriter, r *http.Request, a *account) bool {
	s.mu.Lock()
	now := s.Now()
	if now.Sub(a.window) >= time.Hour {
		a.window, a.used = now.Truncate(time.Hour), 0
	}
	a.used++
	left, reset := s.opt.Limit-a.used, a.window.Add(time.Hour)
	s.mu.Unlock()
	w.Header().Set("X-RateLimit-Limit", strconv.Itoa(s.opt.Limit))
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(max(0, left)))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	if left >= 0 {
		return true
	}
	s.CloseWindow("", reset)
	s.refuse(w, r, http.StatusTooManyRequests, "TooManyRequests", "The limit of the hour is reached.")
	return false
}

func (s *Server) assets(w http.ResponseWriter, r *http.Request) {
	s.Reply(w, r, http.StatusOK, []map[string]any{{"id": "gateway-1", "modelId": "dtmi:example:gateway;1", "displayName": "Gateway 1"}})
}

// upload takes a firmware image: multipart with one part named file.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	if typ, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); typ != "multipart/form-data" {
		s.refuse(w, r, http.StatusUnsupportedMediaType, "UnsupportedMediaType", "Send multipart/form-data.")
		return
	}
	file, header, err := r.FormFile("file")
	if err != nil {
		s.refuse(w, r, http.StatusBadRequest, "BadRequest", "The part file is missing.")
		return
	}
	defer file.Close()
	s.Reply(w, r, http.StatusOK, map[string]any{
		"fileResourceId": "res_" + host.Secret(8), "filename": header.Filename,
		"size": header.Size, "contentType": "application/octet-stream",
	})
}
