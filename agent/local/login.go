package local

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A Login is one step of a person's login at an account's cloud. Empty, it
// begins one. It does not print its secrets.
type Login struct {
	Answer string `json:"answer,omitempty"` // the address to which the cloud sent the browser: ends the login
	Cookie string `json:"cookie,omitempty"` // of a session at the cloud: does without a browser
}

// String gives nothing away.
func (Login) String() string { return "login" }

// GoString is as String.
func (l Login) GoString() string { return l.String() }

// A LoginAnswer tells what is next.
type LoginAnswer struct {
	Account  string `json:"account"`
	Done     bool   `json:"done"`               // the account has a token
	Open     string `json:"open,omitempty"`     // the address that a person opens in a browser
	Redirect string `json:"redirect,omitempty"` // where the browser comes back to
}

// maxLogin bounds the body of a login, in bytes.
const maxLogin = 32 << 10

// login does one step of a login.
func (c *calls) login(w http.ResponseWriter, r *http.Request, p peer) error {
	account, err := pathName(r, "account")
	if err != nil {
		return err
	}
	if c.Login == nil {
		return Errorf(NotFound, "there is no account %q", account)
	}
	var l Login
	dec := json.NewDecoder(io.LimitReader(r.Body, maxLogin))
	dec.DisallowUnknownFields()
	if dec.Decode(&l) != nil {
		return Errorf(Invalid, `the body is not {}, {"answer": "..."} or {"cookie": "..."}`)
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil { // see deadline
		c.Log.Debug("deadline of a local request not lifted", "err", err)
	}
	c.Log.Info("login asked for", "account", account, "peer_uid", p.uid, "peer_pid", p.pid)
	answer, err := c.Login(r.Context(), account, l)
	if err != nil {
		return notYet(err)
	}
	answer.Account = account
	c.answer(w, http.StatusOK, answer)
	return nil
}

// Login does one step of a person's login at the account's cloud.
func (c *Client) Login(ctx context.Context, account string, l Login) (a LoginAnswer, err error) {
	b, err := json.Marshal(l)
	if err != nil {
		return a, err
	}
	err = c.get(ctx, http.MethodPost, "/v1/accounts/"+url.PathEscape(account)+"/login", &body{bytes.NewReader(b), int64(len(b))}, &a)
	return a, err
}
