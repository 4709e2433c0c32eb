package agent

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// proxyWait is how long a forwarded request waits for a token and for the
// account's turn under its rate limit.
const proxyWait = 2 * time.Minute

// forwarder is a transport of the account's own for local programs, so that
// theirs never keep the agent's calls waiting for a connection.
func forwarder(c *http.Client) http.RoundTripper {
	t, ok := c.Transport.(*http.Transport)
	if !ok {
		return c.Transport
	}
	t = t.Clone()
	t.MaxConnsPerHost = 0 // the local API bounds them
	t.MaxIdleConnsPerHost = 4
	t.MaxIdleConns = 4
	return t
}

// upstream is the API of an account, for the proxy.
func (g *generation) upstream(name string) (local.Upstream, error) {
	acc, err := g.accounts.get(name)
	if err == nil && name == local.DeviceAccount {
		err = g.provisioned()
	}
	if err != nil {
		return local.Upstream{}, err
	}
	return local.Upstream{
		Base: acc.Base,
		Send: acc.forwardOnce,
		Refused: func(ctx context.Context, token string) bool {
			return g.verdicts.refused(ctx, acc, token)
		},
	}, nil
}

// forwardOnce sends r with the account's token. It follows no redirect: it is
// no client's, but a transport's.
func (a accountInForce) forwardOnce(r *http.Request) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), proxyWait)
	defer cancel()
	tok, err := a.Token(ctx, 0)
	if err != nil {
		return nil, "", local.Errorf(local.Unavailable, "%v", err)
	}
	if err := a.Acquire(ctx); err != nil {
		return nil, "", local.Errorf(local.Busy, "the cloud's rate limit is used up: %v", err)
	}
	if newer, ok, _ := a.Newest(); ok && !newer.IsZero() { // it may have changed in the queue
		tok = newer
	}
	send, out := a.Send(), r.Clone(r.Context())
	out.URL.RawQuery, err = send.Carry(out.Header, r.URL.RawQuery, tok.Raw())
	if err != nil {
		a.Observe(nil)
		return nil, "", err
	}
	res, err := a.forward.RoundTrip(out)
	a.Observe(res)
	if err == nil {
		res.Request = r // whose address holds no token
		if to := res.Header.Get("Location"); to != "" {
			res.Header.Set("Location", send.Hide(to, tok.Raw()))
		}
	}
	return res, tok.Raw(), err
}

// verdicts remembers what came of a 401, so that a call that the account may not
// make does not have its token looked at each time.
type verdicts struct {
	mu    sync.Mutex
	until map[string]verdict // by account
}

type verdict struct {
	token account.Token
	until time.Time
}

// settled reports whether tok was looked at just now.
func (v *verdicts) settled(name string, tok account.Token) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	was, ok := v.until[name]
	return ok && was.token.Same(tok) && time.Now().Before(was.until)
}

func (v *verdicts) settle(name string, tok account.Token, d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.until == nil {
		v.until = map[string]verdict{}
	}
	v.until[name] = verdict{tok, time.Now().Add(d)}
}

// failedFor is how long a token that could not be replaced is not looked at
// again for the sake of a proxied 401.
const failedFor = 30 * time.Second

// refused has the account's Keeper act on a 401 as the profile says, and
// reports whether there is another token now.
func (v *verdicts) refused(ctx context.Context, acc accountInForce, token string) bool {
	tok, ok, superseded := acc.Newest()
	if !ok || tok.Raw() != token {
		return ok // a newer one is there already
	}
	if v.settled(acc.Name, tok) {
		return false
	}
	before, changed := acc.Status()
	acc.Reject(tok, errors.New("a local program's request: 401 Unauthorized"))
	for rejected := false; ; {
		select {
		case <-superseded:
			if newer, ok, _ := acc.Newest(); ok && !newer.Same(tok) {
				return true
			}
			v.settle(acc.Name, tok, failedFor)
			return false
		case <-changed:
		case <-ctx.Done():
			v.settle(acc.Name, tok, failedFor)
			return false
		}
		var s account.Status
		s, changed = acc.Status()
		rejected = rejected || s.Rejected != ""
		switch {
		case rejected && s.Rejected == "" || s.Last == account.StillGood && s.Attempts > before.Attempts:
			v.settle(acc.Name, tok, account.Recheck)
			return false // the cloud takes the token: the call lacks a permission
		case s.Failures > before.Failures:
			v.settle(acc.Name, tok, failedFor)
			return false
		}
	}
}

// follow tells the state of an account's token.
func (g *generation) follow(name string) (local.AccountState, <-chan struct{}, error) {
	acc, err := g.accounts.get(name)
	if err != nil {
		return local.AccountState{}, nil, err
	}
	s, changed := acc.Status()
	ended := !s.Token.Expires.IsZero() && !acc.Time().Before(s.Token.Expires)
	return local.AccountState{
		Account: name, State: tokenStates[s.State], Token: s.Token.Raw(), Expires: s.Token.Expires, Reason: s.Reason,
		Stale: s.Token.IsZero() || ended || s.State == account.Rejected || s.State == account.Lost,
	}, changed, nil
}

// rejected is a local program's word that the cloud refused the token.
func (g *generation) rejected(name, token, reason string) error {
	acc, err := g.accounts.get(name)
	if err != nil {
		return err
	}
	if tok, ok, _ := acc.Newest(); ok && tok.Raw() == token {
		acc.Reject(tok, errors.New("a local program says that the cloud refused the token: "+reason))
	}
	return nil
}
