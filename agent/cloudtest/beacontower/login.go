package beacontower

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// login is POST /auth/ropc. The form of its errors is documented nowhere; the
// default is that of the rest of the API.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	fields, ok := host.Object(r)
	if !ok {
		s.refuseLogin(w, r, http.StatusBadRequest, "The body is no JSON object.")
		return
	}
	for _, name := range []string{"username", "password"} {
		if host.Text(fields, name) == "" {
			s.refuseLogin(w, r, http.StatusBadRequest, "The member "+name+" is missing or invalid.")
			return
		}
	}
	s.mu.Lock()
	a := s.accounts[host.Text(fields, "username")]
	good := a != nil && a.Password == host.Text(fields, "password")
	s.mu.Unlock()
	if !good {
		s.refuseLogin(w, r, http.StatusUnauthorized, "Invalid username or password.")
		return
	}
	if s.spend(w, r, a) {
		s.Reply(w, r, http.StatusOK, map[string]any{"accessToken": s.issue(a)})
	}
}

func (s *Server) refuseLogin(w http.ResponseWriter, r *http.Request, status int, why string) {
	s.Note(host.Event{Kind: host.KindRefuse, Op: OpLogin, Status: status, Why: why})
	switch body, _ := s.Hit(LoginBody, OpLogin); body {
	case "empty":
		w.WriteHeader(status)
	case "html":
		host.Page(w, status, http.StatusText(status))
	default:
		s.refuse(w, r, status, strings.ReplaceAll(http.StatusText(status), " ", ""), why)
	}
}

// issue makes a token for an account.
func (s *Server) issue(a *account) string {
	now := s.Now()
	expires := now.Add(s.opt.TokenLife).Truncate(time.Second)
	claims := s.claims(a, now, expires)
	text := host.SignRS256(claims)
	if size, ok := s.Hit(LongToken, OpLogin); ok {
		n, _ := strconv.Atoi(size)
		claims["groups"] = groups((n - len(text)) * 3 / 4)
		text = host.SignRS256(claims)
	}
	if _, ok := s.Hit(KillOld, OpLogin); ok {
		s.RevokeAll(func(owner *account) bool { return owner == a })
	}
	s.Put(text, a, expires)
	s.Note(host.Event{Kind: host.KindIssue, Op: OpLogin, Token: host.Tail(text)})
	return text
}

func (s *Server) claims(a *account, now, expires time.Time) map[string]any {
	s.mu.Lock()
	s.serial++
	claims := map[string]any{"sub": a.Username, "jti": strconv.Itoa(s.serial)} // two tokens of one second must differ
	s.mu.Unlock()
	if off, ok := s.Hit(TokenClock, OpLogin); ok {
		d, _ := time.ParseDuration(off)
		now, expires = now.Add(d), expires.Add(d)
	}
	if _, ok := s.Hit(PastExpiry, OpLogin); ok {
		expires = now.Add(-time.Minute)
	}
	claims["iat"] = now.Unix()
	claims["exp"] = expires.Unix()
	if _, ok := s.Hit(FloatExpiry, OpLogin); ok {
		claims["exp"] = json.Number(fmt.Sprintf("%d.750", expires.Unix()))
	}
	if _, ok := s.Hit(NoExpiry, OpLogin); ok {
		delete(claims, "exp")
	}
	return claims
}

// groups are claims of about n bytes.
func groups(n int) []string {
	var all []string
	for i := 0; n > 0; i++ {
		all = append(all, fmt.Sprintf("group-%029d", i))
		n -= 38
	}
	return all
}
