package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
)

// Errors of a login by a person.
var (
	ErrNoAuthorization = errors.New("this kind of cloud has no login by authorization code")
	ErrUnknownLogin    = errors.New("this login was not begun here, or more than ten minutes ago")
	ErrNoSession       = errors.New("the cloud sends to its login page: the session's cookie is none, or has expired")
)

// DefaultRedirect is where the cloud sends a person's browser where the
// account's settings name no address.
const DefaultRedirect = "http://127.0.0.1:8123/"

// Bounds of the logins that were begun.
const (
	maxLogins   = 8
	loginExpiry = 10 * time.Minute
)

// A Login gets tokens by the authorization code of a person, with PKCE (RFC
// 7636): the verifier never leaves the agent. The zero Login has none under
// way.
type Login struct {
	mu    sync.Mutex
	begun map[string]begun // by state
}

type begun struct {
	verifier, redirect string
	at                 time.Time
}

// Begin returns the address that a person opens, and the state that the answer
// must repeat.
func (l *Login) Begin(p *Provider, redirect string) (address, state string, err error) {
	if p.Profile.Authorize == "" {
		return "", "", ErrNoAuthorization
	}
	v, err := p.Values(p.Profile.Code)
	if err != nil {
		return "", "", err
	}
	if redirect == "" {
		redirect = DefaultRedirect
	}
	state = rand.Text()
	b := begun{verifier: rand.Text() + rand.Text(), redirect: redirect, at: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun == nil {
		l.begun = map[string]begun{}
	}
	for s, b := range l.begun {
		if time.Since(b.at) > loginExpiry || len(l.begun) >= maxLogins {
			delete(l.begun, s)
		}
	}
	l.begun[state] = b
	sum := sha256.Sum256([]byte(b.verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {v[profile.ClientID]}, "redirect_uri": {redirect}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if v[profile.Scope] != "" {
		q.Set("scope", v[profile.Scope])
	}
	at := p.Base.JoinPath(p.Profile.Authorize)
	at.RawQuery = q.Encode()
	return at.String(), state, nil
}

// Finish trades the address to which the cloud sent the browser for tokens,
// which the Keeper makes durable and takes into use.
func (l *Login) Finish(ctx context.Context, k *Keeper, answer string) error {
	u, err := url.Parse(strings.TrimSpace(answer))
	if err != nil {
		return errors.New("that is no address")
	}
	q := u.Query()
	l.mu.Lock()
	b, ok := l.begun[q.Get("state")]
	delete(l.begun, q.Get("state"))
	l.mu.Unlock()
	switch {
	case !ok || time.Since(b.at) > loginExpiry:
		return ErrUnknownLogin
	case !strings.HasPrefix(u.String(), b.redirect):
		return errors.New("the address is not the one that the login was to come back to")
	case q.Get("error") != "":
		return fmt.Errorf("the cloud refuses the login: %s", profile.Clean(q.Get("error")+": "+q.Get("error_description"), nil))
	case q.Get("code") == "":
		return errors.New("the address holds no code")
	}
	g, err := k.Provider.exchange(ctx, q.Get("code"), b.redirect, b.verifier)
	if err != nil {
		return err
	}
	return k.hand(ctx, g)
}

// BySession logs in with the cookie of a session that a person has at the
// cloud: NAME=VALUE, or the value alone.
func (l *Login) BySession(ctx context.Context, k *Keeper, redirect, cookie string) error {
	p := k.Provider
	address, _, err := l.Begin(p, redirect)
	if err != nil {
		return err
	}
	at, err := url.Parse(address)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(cookie, p.Profile.Cookie+"=") {
		cookie = p.Profile.Cookie + "=" + cookie
	}
	if strings.ContainsAny(cookie, "\r\n;,") || len(cookie) > 16<<10 {
		return errors.New("that is no cookie")
	}
	r := profile.Request{Method: http.MethodGet, Path: p.Profile.Authorize, Query: at.RawQuery, Header: http.Header{"Cookie": {cookie}}, Secret: []string{cookie}}
	res, _, err := p.send(ctx, r)
	if err != nil {
		return fmt.Errorf("%s: %s", r, profile.Clean(err.Error(), r.Secret))
	}
	to, err := res.Location()
	if err != nil {
		return fmt.Errorf("%s: %d, and no redirect with a code", r, res.StatusCode)
	}
	if !strings.HasPrefix(to.String(), at.Query().Get("redirect_uri")) {
		return ErrNoSession
	}
	return l.Finish(ctx, k, to.String())
}

// hand gives the Keeper what a login brought, and waits until it is in use.
func (k *Keeper) hand(ctx context.Context, g granted) error {
	k.inbox.put(func() { k.inbox.brought = &g })
	for {
		tok, ok, changed := k.tokens.Get()
		if ok && tok.raw == g.Token {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
