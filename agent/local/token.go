package local

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// token gives the account's token to a trusted peer and notes who got it.
func (c *calls) token(w http.ResponseWriter, r *http.Request, p peer) error {
	account, err := pathName(r, "account")
	if err != nil {
		return err
	}
	var min time.Duration
	if v := r.URL.Query().Get("min_validity"); v != "" {
		if min, err = time.ParseDuration(v); err != nil || min < 0 {
			return Errorf(Invalid, "min_validity %q: a duration such as 10m", shorten(v))
		}
	}
	if c.Token == nil {
		return Errorf(NotFound, "there is no account %q", account)
	}
	ctx, cancel := context.WithTimeout(r.Context(), tokenTimeout)
	defer cancel()
	t, err := c.Token(ctx, account, min)
	if err != nil {
		return notYet(err)
	}
	t.Account, t.Expires = account, wireTime(t.Expires)
	c.audit.note(c.Log, account, "", p, time.Now())
	c.answer(w, http.StatusOK, t)
	return nil
}

// notYet turns a failure of no other kind into one that time may cure.
func notYet(err error) error {
	e := asError(err)
	if e.Code != Internal {
		return e
	}
	return &Error{Unavailable, e.Reason}
}

func (c *calls) renew(w http.ResponseWriter, r *http.Request, p peer) error {
	account, err := pathName(r, "account")
	if err != nil {
		return err
	}
	if c.Renew == nil {
		return Errorf(NotFound, "there is no account %q", account)
	}
	c.Log.Info("renewal asked for", "account", account, "peer_uid", p.uid, "peer_pid", p.pid)
	if err := c.Renew(r.Context(), account); err != nil {
		return notYet(err)
	}
	c.answer(w, http.StatusOK, map[string]string{"account": account, "state": "renewed"})
	return nil
}

// maxAdoption bounds the body of an adoption: a token as long as an MQTT user
// name, and JSON around it.
const maxAdoption = 68 << 10

// An Adoption is the body of a call that re-provisions an account. It does not
// print its token.
type Adoption struct {
	Token string `json:"token"`
}

// String gives nothing away.
func (Adoption) String() string { return "adoption" }

// GoString is as String.
func (a Adoption) GoString() string { return a.String() }

// adopt hands a token that a person brought over to the account.
func (c *calls) adopt(w http.ResponseWriter, r *http.Request, p peer) error {
	account, err := pathName(r, "account")
	if err != nil {
		return err
	}
	if c.Adopt == nil {
		return Errorf(NotFound, "there is no account %q", account)
	}
	var a Adoption
	dec := json.NewDecoder(io.LimitReader(r.Body, maxAdoption))
	dec.DisallowUnknownFields()
	if dec.Decode(&a) != nil || a.Token == "" {
		return Errorf(Invalid, `the body is not {"token": "..."}`)
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil { // see deadline
		c.Log.Debug("deadline of a local request not lifted", "err", err)
	}
	c.Log.Info("adoption asked for", "account", account, "peer_uid", p.uid, "peer_pid", p.pid)
	if err := c.Adopt(r.Context(), account, a.Token); err != nil {
		return notYet(err)
	}
	c.answer(w, http.StatusOK, map[string]string{"account": account, "state": "adopted"})
	return nil
}
