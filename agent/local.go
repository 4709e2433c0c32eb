package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/agent/upload"
)

// known is an error unless an account has that name.
func known(name string) error {
	if name != local.DeviceAccount {
		return local.Errorf(local.NotFound, "there is no account %q", name)
	}
	return nil
}

// newServer joins the local API to the parts.
func (g *generation) newServer() *local.Server {
	return &local.Server{
		Socket: filepath.Join(g.conf.Paths.Run, "agent.sock"),
		Group:  g.conf.Local.Group,
		Log:    g.Log.With("task", "local"),
		Status: g.status,
		Token:  g.token,
		Follow: g.follow, Rejected: g.rejected, Proxy: g.upstream,
		Credentials: filepath.Join(g.conf.Paths.Run, "credential.sock"),
		Renew:       g.renewAccount,
		Adopt:       g.adopt,
		Login:       g.loginAccount,
		Publish:     g.publish, Subscribe: g.subscribe,
		Check: func(ctx context.Context, module string) error {
			if err := g.provisioned(); err != nil {
				return err
			}
			_, err := g.updates.Check(ctx, module)
			return err
		},
		Fetch: g.fetch,
		Install: func(ctx context.Context, module string, now bool) error {
			if err := g.provisioned(); err != nil {
				return err
			}
			return g.updates.Install(ctx, module, now)
		},
		Rollback: g.updates.Rollback,
		Add: func(ctx context.Context, typ, module, name string, r io.Reader) (local.Item, error) {
			it, err := g.uploads.Add(ctx, typ, module, name, r)
			return local.Item{ID: it.ID, Name: it.Name, Type: it.Type, Module: it.Module, Size: it.Size}, spoolError(err)
		},
	}
}

// spoolError tells the local API whose fault err is.
func spoolError(err error) error {
	for cause, code := range map[error]local.Code{
		upload.ErrEmpty: local.Invalid, upload.ErrType: local.Invalid, upload.ErrName: local.Invalid,
		upload.ErrFull: local.NoSpace, upload.ErrClosed: local.Unavailable,
	} {
		if errors.Is(err, cause) {
			return local.Errorf(code, "%v", err)
		}
	}
	return err
}

// provisioned is an error for a person who asks for what needs a token.
func (g *generation) provisioned() error {
	if s, _ := g.keeper.Status(); s.Token.IsZero() {
		return fmt.Errorf("the device has no token: %s", s.Reason)
	}
	return nil
}

// token waits for a token that is valid for least at the least. The newest
// there is comes as stale when the cloud gives no better one in time.
func (g *generation) token(ctx context.Context, name string, least time.Duration) (local.TokenAnswer, error) {
	if name != local.DeviceAccount {
		return g.accountToken(ctx, name, least)
	}
	if err := g.provisioned(); err != nil {
		return local.TokenAnswer{}, err
	}
	tok, _, err := g.keeper.Current(ctx)
	if err != nil {
		return local.TokenAnswer{}, err
	}
	if !g.lasts(tok, least) {
		_ = g.keeper.Renew(ctx) // the answer says whether it helped
		tok, _, _ = g.keeper.Current(context.WithoutCancel(ctx))
	}
	return local.TokenAnswer{Token: tok.Raw(), Expires: tok.Expires, Stale: !g.lasts(tok, least), Account: name}, nil
}

// lasts reports whether tok is valid for d, as far as it says.
func (g *generation) lasts(tok account.Token, d time.Duration) bool {
	return tok.Expires.IsZero() || tok.Expires.Sub(g.clock.Now()) >= d
}
