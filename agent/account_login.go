package agent

import (
	"cmp"
	"context"
	"errors"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// loginAccount does one step of a person's login at an account's cloud.
func (g *generation) loginAccount(ctx context.Context, name string, l local.Login) (local.LoginAnswer, error) {
	acc, err := g.accounts.get(name)
	if err != nil {
		return local.LoginAnswer{}, err
	}
	if acc.login == nil {
		return local.LoginAnswer{}, local.Errorf(local.Invalid, "the device's own account has no login: %s adopt", "spoke-zone-agent")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*g.conf.Cloud.Timeout)
	defer cancel()
	switch {
	case l.Answer != "":
		err = acc.login.Finish(ctx, acc.Keeper, l.Answer)
	case l.Cookie != "":
		err = acc.login.BySession(ctx, acc.Keeper, acc.Conf.RedirectURI, l.Cookie)
	default:
		redirect := cmp.Or(acc.Conf.RedirectURI, account.DefaultRedirect)
		address, _, err := acc.login.Begin(acc.Provider, redirect)
		return local.LoginAnswer{Open: address, Redirect: redirect}, loginError(err)
	}
	return local.LoginAnswer{Done: err == nil}, loginError(err)
}

// loginError tells the local API whose fault err is.
func loginError(err error) error {
	switch {
	case errors.Is(err, account.ErrNoAuthorization), errors.Is(err, account.ErrUnknownLogin):
		return local.Errorf(local.Invalid, "%v", err)
	case errors.Is(err, account.ErrNoSession):
		return local.Errorf(local.Refused, "%v", err)
	}
	return err
}
