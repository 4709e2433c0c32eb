// Package bace is a faithful Evalan BACE to test against: the form-data
// password grant, the refresh that lets the same token live longer, and an API
// whose 401 may mean that a permission is missing, as docs.bace-iot.com
// describes them.
//
// Where the pages are silent or contradict each other the Server does the
// likelier or the stricter thing, and a fault makes it do the other one. Its
// errors are those of the PHP libraries that the vendor's samples show.
package bace

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

// Times of the documented service.
const (
	DefaultTokenLife = 24 * time.Hour      // of a new token
	DefaultExtended  = 14 * 24 * time.Hour // after a refresh
)

// The operations, to which a fault can be limited.
const (
	OpLogin   = "login"   // POST /oauth2/token with grant_type password
	OpRefresh = "refresh" // POST /oauth2/token with grant_type refresh_token
	OpGroup   = "group"   // GET and HEAD /api/v2/group, the probe
	OpDevice  = "device"  // GET /api/v2/physical-device
	OpData    = "data"    // GET /api/v2/data/index
	OpPing    = "ping"    // GET /api/v2/physical-device/ID/ping
)

// Options are what a Server cannot change later.
type Options struct {
	TokenLife time.Duration // DefaultTokenLife if zero
	Extended  time.Duration // DefaultExtended if zero
	Seed      uint64        // of the draws for faults with a probability
}

// An Account is a user of the dashboard, with the software client that it
// uses.
type Account struct {
	Username     string `json:"username"`
	Password     string `json:"password"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	// Allowed are the operations that the account may use; group and device
	// if there are none.
	Allowed []string `json:"allowed,omitempty"`
}

// A Server is one BACE.
type Server struct {
	*host.Host
	*host.Tokens[*Account]
	opt Options

	mu       sync.Mutex
	accounts []*Account
	refresh  map[string]*refreshToken
}

// A refreshToken belongs to the access token that was issued with it.
type refreshToken struct {
	account *Account
	access  string
	issued  time.Time
	used    bool
}

// New returns a Server without accounts. Close must end it.
func New(opt Options) *Server {
	opt.TokenLife = cmp.Or(opt.TokenLife, DefaultTokenLife)
	opt.Extended = cmp.Or(opt.Extended, DefaultExtended)
	s := &Server{opt: opt, refresh: map[string]*refreshToken{}}
	s.Host = host.New(host.Options{
		Name: "bace", Faults: faults, Operations: []string{OpLogin, OpRefresh, OpGroup, OpDevice, OpData, OpPing},
		Hosts: []string{"dashboard.bace-iot.com"}, Seed: opt.Seed, Operation: grant,
	})
	s.Tokens = host.NewTokens[*Account](s.Host, 0)
	s.Handle("POST /oauth2/token", OpLogin, s.token)
	s.Handle("/oauth2/token", OpLogin, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", "POST, OPTIONS")
		s.refuseToken(w, r, http.StatusMethodNotAllowed, "invalid_request", "The request method must be POST when requesting an access token")
	})
	s.Handle("GET /api/v2/group", OpGroup, s.authorized(OpGroup, s.list))
	s.Handle("GET /api/v2/group/index", OpGroup, s.authorized(OpGroup, s.list))
	s.Handle("GET /api/v2/physical-device", OpDevice, s.authorized(OpDevice, s.list))
	s.Handle("GET /api/v2/data/index", OpData, s.authorized(OpData, s.list))
	s.Handle("GET /api/v2/physical-device/{id}/ping", OpPing, s.authorized(OpPing, s.ping))
	s.Handle("/", "", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, http.StatusNotFound, "Not Found", "Page not found.", `yii\web\NotFoundHttpException`)
	})
	return s
}

// AddAccount makes an account.
func (s *Server) AddAccount(a Account) {
	if len(a.Allowed) == 0 {
		a.Allowed = []string{OpGroup, OpDevice}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts = append(s.accounts, &a)
}

// refuse answers with the error body of Yii.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, name, message, typ string) {
	s.Reply(w, r, status, map[string]any{"name": name, "message": message, "code": 0, "status": status, "type": typ})
}

func (s *Server) unauthorized(w http.ResponseWriter, r *http.Request) {
	s.refuse(w, r, http.StatusUnauthorized, "Unauthorized", "Your request was made with invalid credentials.", `yii\web\UnauthorizedHttpException`)
}

// authorized lets requests of accounts that may use op through to h. It
// answers 401 alike to those without a token and to those without permission.
func (s *Server) authorized(op string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, valid := s.Admit(host.Bearer(r))
		if !valid || !slices.Contains(a.Allowed, op) {
			s.unauthorized(w, r)
			return
		}
		h(w, r)
	}
}

// list answers one page of a collection that has one element.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	page, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	per, err := strconv.Atoi(r.URL.Query().Get("per-page"))
	if err != nil || per < 1 {
		per = 20
	}
	for name, n := range map[string]int{"current-page": page, "page-count": 1, "per-page": per, "total-count": 1} {
		w.Header().Set("x-pagination-"+name, strconv.Itoa(n))
	}
	s.Reply(w, r, http.StatusOK, map[string]any{
		"items": []map[string]any{{"id": 17, "name": "gateway"}},
		"_meta": map[string]int{"totalCount": 1, "pageCount": 1, "currentPage": page, "perPage": per},
	})
}

func (s *Server) ping(w http.ResponseWriter, r *http.Request) {
	s.Reply(w, r, http.StatusOK, map[string]any{"status": 200, "payload": map[string]string{"data": "pong", "result": "success"}})
}

// expires is a time as the refresh writes it: without its zone.
func (s *Server) expires(at time.Time) string {
	zone := time.UTC
	if name, ok := s.Hit(Zone, OpRefresh); ok {
		zone, _ = location(name)
	}
	return at.In(zone).Format(time.DateTime)
}

// location reads a zone's name, or an offset from UTC.
func location(name string) (*time.Location, error) {
	if d, err := time.ParseDuration(name); err == nil {
		return time.FixedZone(name, int(d/time.Second)), nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", name, err)
	}
	return zone, nil
}
