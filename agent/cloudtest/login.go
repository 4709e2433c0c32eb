package cloudtest

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// A Renewal is what POST /loginDevice does with a token.
type Renewal int

// The outcomes of a login with the right identity.
const (
	StillValid Renewal = iota // 200 without a token
	Renewed                   // 201 with a token
	TooLate                   // 401
)

// Judge decides a login for a token that expires in left: a token is renewed
// within the window before its expiry and, expired, within the grace after it.
func Judge(left, window, grace time.Duration) Renewal {
	switch {
	case left > window:
		return StillValid
	case -left <= grace:
		return Renewed
	}
	return TooLate
}

// login is POST /loginDevice. Its error bodies are of no documented form.
func (c *Cloud) login(w http.ResponseWriter, r *http.Request) {
	l := Login{}
	refuse := func(status int, why string) {
		l.Status = status
		c.loggedIn(l, why)
		c.reply(w, r, status, map[string]any{"status": "error", "message": why})
	}
	if arg, ok := c.hit(LoginRefused, "login"); ok {
		status, _ := strconv.Atoi(arg)
		refuse(status, "Login refused.")
		return
	}
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		refuse(http.StatusBadRequest, "The content type must be application/json.")
		return
	}
	var fields map[string]any
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&fields); err != nil {
		refuse(http.StatusBadRequest, "The body is not a JSON object.")
		return
	}
	for _, name := range []string{"token", "cpu_id", "uuid"} {
		if s, ok := fields[name].(string); !ok || s == "" {
			refuse(http.StatusBadRequest, "The field "+name+" is missing or has an incorrect value.")
			return
		}
	}
	l.Token = fields["token"].(string)
	status, given, why := c.renew(&l, fields["cpu_id"].(string), fields["uuid"].(string))
	if why != "" {
		refuse(status, why)
		return
	}
	l.Status, l.Given = status, given
	c.loggedIn(l, "")
	if given == "" {
		c.reply(w, r, status, map[string]any{"status": "ok", "message": "Token is valid"})
		return
	}
	c.reply(w, r, status, map[string]any{"token": given})
}

// renew returns the status of a login and the token that it gives, or why the
// login is refused.
func (c *Cloud) renew(l *Login, cpuID, uuid string) (status int, given, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, t := c.known(l.Token)
	switch {
	case d == nil:
		return http.StatusBadRequest, "", "The field token has an incorrect value."
	case cpuID != d.CPUID:
		return http.StatusBadRequest, "", "The field cpu_id has an incorrect value."
	case uuid != d.UUID:
		return http.StatusBadRequest, "", "The field uuid has an incorrect value."
	}
	l.Device = d.ID
	verdict := Judge(t.expires.Sub(c.now()), c.opt.Window, c.opt.Grace)
	if verdict == TooLate {
		if _, ok := c.faults.Roll(UnlimitedGrace, "login"); !ok {
			return http.StatusUnauthorized, "", "The token expired too long ago."
		}
	}
	if _, ok := c.faults.Roll(LoginWithoutToken, "login"); ok || verdict == StillValid {
		return http.StatusOK, "", ""
	}
	if _, ok := c.faults.Roll(LoginSameToken, "login"); ok {
		return http.StatusCreated, l.Token, ""
	}
	if _, ok := c.faults.Roll(RevokeRenewed, "login"); ok {
		t.revoked = true
	}
	return http.StatusCreated, c.issue(d, c.opt.TokenLife), ""
}

func (c *Cloud) loggedIn(l Login, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.At = c.now()
	c.logins.Add(l)
	c.note(Event{Kind: EventLogin, Device: l.Device, Op: "login", Status: l.Status, Token: tail(l.Token), Why: why})
}
