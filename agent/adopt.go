package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// errNotTaken means that the keeper could not be given a token that the cloud
// accepts: it was stopped, or had another one in the same moment.
var errNotTaken = errors.New("the token is good but was not taken over: try again")

// An adoption is a token that a person brought and the cloud has accepted, on
// its way to the keeper. The keeper takes it in the place of an answer to its
// next login, so that it is stored, written back and announced as every new
// token is: by the keeper alone and in that order.
type adoption struct {
	one sync.Mutex // held by the one who adopts

	mu  sync.Mutex
	raw string
}

func (a *adoption) put(raw string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.raw = raw
}

func (a *adoption) take() (raw string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	raw, a.raw = a.raw, ""
	return raw
}

func (a *adoption) taken() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.raw == ""
}

// loginOrAdopted is the keeper's Login.
func (g *generation) loginOrAdopted(ctx context.Context, tok account.Token) (string, error) {
	if raw := g.adopted.take(); raw != "" {
		return raw, nil
	}
	raw, err := g.login(ctx, tok)
	g.device.answered(err)
	return raw, err
}

// adopt proves a token that a person brought by presenting it to the cloud, and
// takes it over. Where the cloud does not accept it, nothing changes.
func (g *generation) adopt(ctx context.Context, name, raw string) error {
	if err := known(name); err != nil {
		return err
	}
	tok, err := account.ParseToken(raw, g.keeper.Names)
	if err != nil {
		return local.Errorf(local.Invalid, "the token: %v", err)
	}
	g.adopted.one.Lock()
	defer g.adopted.one.Unlock()
	fresh, err := g.login(ctx, tok) // a refusal says nothing of the token in use
	if err != nil {
		return fmt.Errorf("the cloud does not accept the token, nothing was changed: %w", err)
	}
	g.device.answered(nil)
	if err := g.takeOver(ctx, tok); err != nil {
		return err
	}
	g.keeper.Prove(tok)
	g.Log.Info("token adopted", "task", "token", "token", tok)
	if next, err := account.ParseToken(fresh, g.keeper.Names); err == nil && !next.Same(tok) {
		return g.takeOver(ctx, next) // the cloud renewed it at once
	}
	return nil
}

// takeOver has the keeper use tok, which the cloud accepts.
func (g *generation) takeOver(ctx context.Context, tok account.Token) error {
	if s, _ := g.keeper.Status(); s.Token.Same(tok) {
		return nil
	}
	g.adopted.put(tok.Raw())
	defer g.adopted.take()
	for range 3 { // a login that is under way answers the first in our stead
		err := g.keeper.Renew(ctx)
		switch {
		case errors.Is(err, account.ErrNoToken):
			return g.takeFirst(ctx, tok)
		case ctx.Err() != nil:
			return errNotTaken
		case g.adopted.taken():
			return g.untilUsed(ctx, tok)
		}
	}
	return errNotTaken
}

// takeFirst is takeOver where there is no token that could be renewed.
func (g *generation) takeFirst(ctx context.Context, tok account.Token) error {
	g.keeper.Offer(tok.Raw(), nil)
	if err := g.untilUsed(ctx, tok); err != nil {
		return err
	}
	if err := g.keeper.WriteBack(tok); err != nil { // perhaps there is no such file
		g.Log.Warn("token not written to the identity file", "task", "token", "err", err)
	}
	return nil
}

// untilUsed waits until tok is the token in use, for as long as one request may
// take.
func (g *generation) untilUsed(ctx context.Context, tok account.Token) error {
	ctx, cancel := context.WithTimeout(ctx, g.conf.Cloud.Timeout)
	defer cancel()
	for {
		s, changed := g.keeper.Status()
		if s.Token.Same(tok) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errNotTaken
		}
	}
}
