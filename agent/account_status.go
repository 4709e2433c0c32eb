package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// accountsStatus is how every account is, the device's own among them.
func (g *generation) accountsStatus() []local.Account {
	all, _ := g.accounts.all()
	list := make([]local.Account, 0, len(all))
	for _, acc := range all {
		s, _ := acc.Status()
		a := local.Account{
			Account: acc.Name, Profile: acc.Profile.Name, Kind: string(acc.Profile.Kind),
			State: tokenStates[s.State], Reason: s.Reason, Tail: s.Token.Tail(),
			Expires: s.Token.Expires, RenewAt: s.Window.Due, PointOfNoReturn: s.Window.Closes,
			LastRenewal: s.LastRenewal, Renewals: s.Renewals, Logins: s.Logins, Attempt: s.Failures,
			LastError: s.LastError, Missing: s.Short, NeedsLogin: s.NeedsLogin,
			Stored: s.StoreError == "" && !s.Token.IsZero(), Keeps: acc.Profile.Durable,
		}
		if s.Failures > 0 || !s.Token.IsZero() {
			a.NextTry = s.NextTry
		}
		state, r := g.clock.State()
		a.Since = g.standings.of(acc.Name).since(a.State, r, state.Now(r))
		a.Deliveries = deliveriesStatus(acc.delivery)
		if opens := acc.Closed(); !opens.IsZero() {
			a.LimitedUntil = acc.Time().Add(time.Until(opens))
		}
		list = append(list, a)
	}
	return list
}

// accountProblems are sentences for the person at the gateway.
func (g *generation) accountProblems() (p []string) {
	for _, acc := range g.otherAccounts() {
		p = append(p, deliveryProblems(acc)...)
		s, _ := acc.Status()
		if s.State != account.Good && s.State != account.Due && s.State != "" {
			p = append(p, "account "+acc.Name+" "+string(s.State)+": "+s.Reason)
		}
		if s.Short != "" {
			p = append(p, "account "+acc.Name+": the token does not permit "+s.Short)
		}
		if s.StoreError != "" {
			p = append(p, "account "+acc.Name+": the token is not stored and would be lost with the power: "+s.StoreError)
		}
	}
	for _, dir := range g.leftAccounts() {
		p = append(p, fmt.Sprintf("account %s has no file in %s any more, but its tokens are kept in %s: put the file back, or remove that directory",
			filepath.Base(dir), g.conf.Paths.Accounts, dir))
	}
	return p
}

// accountToken waits for a token of an account of accounts.d.
func (g *generation) accountToken(ctx context.Context, name string, least time.Duration) (local.TokenAnswer, error) {
	acc, err := g.accounts.get(name)
	if err != nil {
		return local.TokenAnswer{}, err
	}
	tok, err := acc.Token(ctx, least)
	switch {
	case errors.Is(err, account.ErrNone):
		return local.TokenAnswer{}, local.Errorf(local.Unavailable, "%v", err)
	case err != nil:
		return local.TokenAnswer{}, err
	}
	return local.TokenAnswer{Token: tok.Raw(), Expires: tok.Expires, Account: name}, nil
}

// renewAccount renews the token of any account now.
func (g *generation) renewAccount(ctx context.Context, name string) error {
	acc, err := g.accounts.get(name)
	if err != nil {
		return err
	}
	return acc.Renew(ctx)
}
