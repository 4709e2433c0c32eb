package bace

import (
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// maxForm bounds the body of the token call.
const maxForm = 64 << 10

// grant names the operation of a token call by its grant.
func grant(r *http.Request, op string) string {
	if op == OpLogin && host.Bearer(r) != "" { // the body is the handler's to read
		return OpRefresh
	}
	return op
}

// token is POST /oauth2/token.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	fields, why := s.form(w, r)
	if why != "" {
		s.refuseToken(w, r, http.StatusBadRequest, "invalid_request", why)
		return
	}
	switch fields["grant_type"] {
	case "":
		s.refuseToken(w, r, http.StatusBadRequest, "invalid_request", "The grant type was not specified in the request")
	case "password":
		s.login(w, r, fields)
	case "refresh_token":
		s.renew(w, r, fields)
	default:
		s.refuseToken(w, r, http.StatusBadRequest, "unsupported_grant_type", "Grant type not supported")
	}
}

// form reads the fields of a body, or says why it cannot.
func (s *Server) form(w http.ResponseWriter, r *http.Request) (fields map[string]string, why string) {
	fields = map[string]string{}
	op := host.Operation(r)
	_, strict := s.Hit(FormDataOnly, op)
	_, json := s.Hit(TakeJSON, op)
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	typ, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case typ == "multipart/form-data" && params["boundary"] == "":
		return nil, "The boundary is missing"
	case typ == "multipart/form-data":
		if err := r.ParseMultipartForm(maxForm); err != nil {
			return nil, "The form data cannot be read"
		}
		for name, values := range r.MultipartForm.Value {
			fields[name] = values[len(values)-1] // as PHP does
		}
	case typ == "application/x-www-form-urlencoded" && !strict:
		if err := r.ParseForm(); err != nil {
			return nil, "The form cannot be read"
		}
		for name, values := range r.PostForm {
			fields[name] = values[len(values)-1]
		}
	case typ == "application/json" && json:
		object, ok := host.Object(r)
		if !ok {
			return nil, "The JSON cannot be read"
		}
		for name := range object {
			fields[name] = host.Text(object, name)
		}
	}
	return fields, "" // PHP knows no fields in a body of another type
}

// client answers and returns false unless the fields name a known client.
func (s *Server) client(w http.ResponseWriter, r *http.Request, fields map[string]string) bool {
	s.mu.Lock()
	known := slices.ContainsFunc(s.accounts, func(a *Account) bool {
		return a.ClientID == fields["client_id"] && a.ClientSecret == fields["client_secret"]
	})
	s.mu.Unlock()
	switch {
	case fields["client_id"] == "" || fields["client_secret"] == "":
		s.refuseToken(w, r, http.StatusBadRequest, "invalid_client", "Client credentials were not found in the headers or body")
	case !known:
		s.refuseToken(w, r, http.StatusBadRequest, "invalid_client", "The client credentials are invalid")
	default:
		return true
	}
	return false
}

// login is the password grant.
func (s *Server) login(w http.ResponseWriter, r *http.Request, fields map[string]string) {
	if !s.client(w, r, fields) {
		return
	}
	if fields["username"] == "" || fields["password"] == "" {
		s.refuseToken(w, r, http.StatusBadRequest, "invalid_request", `Missing parameters: "username" and "password" required`)
		return
	}
	s.mu.Lock()
	i := slices.IndexFunc(s.accounts, func(a *Account) bool {
		return a.ClientID == fields["client_id"] && a.Username == fields["username"] && a.Password == fields["password"]
	})
	var account *Account
	if i >= 0 {
		account = s.accounts[i]
	}
	s.mu.Unlock()
	if account == nil {
		s.refuseToken(w, r, http.StatusUnauthorized, "invalid_grant", "Invalid username and password combination")
		return
	}
	access, refresh := s.issue(account)
	s.Reply(w, r, http.StatusOK, map[string]any{
		"access_token": access, "expires_in": int(s.opt.TokenLife / time.Second), "token_type": "Bearer",
		"scope": nil, "refresh_token": refresh,
	})
}

func (s *Server) issue(a *Account) (access, refresh string) {
	if _, ok := s.Hit(KillOld, OpLogin); ok {
		s.RevokeAll(func(owner *Account) bool { return owner == a })
	}
	access, refresh = host.Secret(20), host.Secret(20)
	now := s.Now()
	s.Put(access, a, now.Add(s.opt.TokenLife))
	s.mu.Lock()
	s.refresh[refresh] = &refreshToken{account: a, access: access, issued: now}
	s.mu.Unlock()
	s.Note(host.Event{Kind: host.KindIssue, Op: OpLogin, Token: host.Tail(access)})
	return access, refresh
}

// renew is the refresh, which lets the bearer live longer. The bearer must be
// the one that the refresh token came with.
func (s *Server) renew(w http.ResponseWriter, r *http.Request, fields map[string]string) {
	bearer := host.Bearer(r)
	owner, known := s.Known(bearer)
	if _, expired := s.Hit(RefreshExpired, OpRefresh); !expired {
		owner, known = s.Admit(bearer)
	}
	if !known {
		s.Note(host.Event{Kind: host.KindRefuse, Op: OpRefresh, Status: http.StatusUnauthorized, Why: "bearer"})
		s.unauthorized(w, r)
		return
	}
	if !s.client(w, r, fields) {
		return
	}
	if why := s.useRefresh(fields, owner, bearer); why != "" {
		s.refuseToken(w, r, http.StatusBadRequest, "invalid_grant", why)
		return
	}
	if _, not := s.Hit(NotRefreshed, OpRefresh); not {
		s.Note(host.Event{Kind: host.KindRefuse, Op: OpRefresh, Status: http.StatusOK, Why: string(NotRefreshed)})
		s.Reply(w, r, http.StatusOK, map[string]any{"refreshed": false})
		return
	}
	life := s.opt.Extended
	if arg, ok := s.Hit(ShortRefresh, OpRefresh); ok {
		life, _ = time.ParseDuration(arg)
	}
	expires := s.Now().Add(life).Truncate(time.Second)
	s.Extend(bearer, expires)
	s.Note(host.Event{Kind: host.KindRenew, Op: OpRefresh, Token: host.Tail(bearer)})
	s.Reply(w, r, http.StatusOK, map[string]any{"refreshed": true, "expires": s.expires(expires)})
}

// useRefresh says why a refresh token cannot be used for the bearer.
func (s *Server) useRefresh(fields map[string]string, owner *Account, bearer string) (why string) {
	age, ages := s.Hit(RefreshAges, OpRefresh)
	life, _ := time.ParseDuration(age)
	_, once := s.Hit(RefreshOnce, OpRefresh)
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.refresh[fields["refresh_token"]]
	switch {
	case t == nil || t.account != owner || t.access != bearer || owner.ClientID != fields["client_id"] || once && t.used:
		return "Invalid refresh token"
	case ages && now.Sub(t.issued) >= life:
		return "Refresh token has expired"
	}
	t.used = true
	return ""
}

// refuseToken answers with an error of the token call.
func (s *Server) refuseToken(w http.ResponseWriter, r *http.Request, status int, code, description string) {
	s.Note(host.Event{Kind: host.KindRefuse, Op: host.Operation(r), Status: status, Why: code})
	if _, ok := s.Hit(YiiErrors, host.Operation(r)); ok {
		typ := `yii\web\BadRequestHttpException`
		if status == http.StatusUnauthorized {
			typ = `yii\web\UnauthorizedHttpException`
		}
		s.refuse(w, r, status, http.StatusText(status), description, typ)
		return
	}
	s.Reply(w, r, status, map[string]any{"error": code, "error_description": description})
}
