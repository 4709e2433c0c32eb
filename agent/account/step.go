package account

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
)

// ErrNeedsLogin means that nothing the account has buys a token: a person must
// log in.
var ErrNeedsLogin = errors.New("neither a refresh token nor a password that the cloud takes: a person must log in with spoke-zone-agent login")

// A way is what the Keeper asks a provider for next.
type way string

// The ways.
const (
	byNothing way = "nothing"
	byProbe   way = "probe"
	byRetire  way = "retire"
	byRefresh way = "refresh"
	byLogin   way = "login"
)

// A standing is what the next way depends on.
type standing struct {
	kind     profile.Kind
	token    bool // there is one in force
	expired  bool
	due      bool // or somebody wants a new one
	renewer  bool // there is a refresh token that was not refused
	canLogin bool
	canProbe bool
	ask      bool // a 401 may mean that a permission is missing
	rejected bool // somebody got a 401
	dead     bool // the cloud itself has said that the token is
	unsure   bool // of the time
	endless  bool // the token names no end
	unkept   bool // the cloud holds two tokens until it is told that the new one is kept
}

// next is the way to go.
func (s standing) next() way {
	refreshable := s.renewer && s.token && (s.kind != profile.Extend || !s.expired && !s.dead)
	switch {
	case s.token && s.rejected && s.ask && s.canProbe && !s.dead:
		return byProbe
	case s.token && !s.rejected && !s.due && !s.dead && s.unkept:
		return byRetire
	case s.token && !s.rejected && !s.due && !s.dead && (s.unsure || s.endless) && s.canProbe:
		return byProbe
	case refreshable:
		return byRefresh
	case s.canLogin:
		return byLogin
	}
	return byNothing
}

// standing is that of now.
func (k *Keeper) standing() standing {
	p, tok, now := k.Provider.Profile, k.slots.use(), k.now()
	w := k.ourWindow()
	return standing{
		kind: p.Kind, token: !tok.IsZero(), expired: past(now, tok.Expires),
		due: past(now, w.Due) || k.urgent || k.wanted || k.ahead(now), endless: tok.Expires.IsZero(),
		renewer:  k.renewer().renewer != "",
		canLogin: k.Provider.canLogin(), canProbe: !p.Probe.IsZero(),
		ask: p.Denied == profile.Ask, rejected: k.history.Forced, dead: tok.digest() != "" && tok.digest() == k.dead,
		unsure: !k.known(), unkept: k.unkept(),
	}
}

// unkept reports whether the cloud has yet to be told that the new token is
// kept. What is not on disk is not.
func (k *Keeper) unkept() bool {
	return !k.slots.Next.IsZero() && k.st.StoreError == "" && !k.Provider.Profile.Retire.IsZero()
}

// renewer is the token whose refresh token is presented: the newest that the
// cloud has not refused. The one before lives until the newest is kept.
func (k *Keeper) renewer() Token {
	for _, t := range []Token{k.slots.Next, k.slots.Cur} {
		if t.renewer != "" && !slices.Contains(k.spent, t.renewer) {
			return t
		}
	}
	return Token{}
}

// step asks the cloud once, by the account's profile, and acts on the answer.
func (k *Keeper) step(ctx context.Context) error {
	tok := k.slots.use()
	switch k.standing().next() {
	case byProbe:
		return k.tryOut(ctx, tok)
	case byRetire:
		k.retire(ctx)
		return nil
	case byRefresh:
		return k.refresh(ctx, tok)
	case byLogin:
		g, err := k.Provider.login(ctx)
		if err == nil {
			k.take(ctx, g, Token{})
		}
		return err
	}
	k.st.NeedsLogin = true
	return ErrNeedsLogin
}

// tryOut has the cloud judge a token that was refused somewhere, or that may
// have expired while the time was not known.
func (k *Keeper) tryOut(ctx context.Context, tok Token) error {
	err := k.Provider.probe(ctx, tok)
	var refusal *profile.Refusal
	switch {
	case err == nil:
		k.judged, k.judgedAt = tok, time.Now()
		k.history.Last, k.history.Failures = StillGood, 0
		k.history.Forced, k.st.Rejected, k.history.Barren = false, "", 0
		return nil
	case errors.As(err, &refusal) && refusal.Status == http.StatusUnauthorized:
		k.dead = tok.digest()
		k.history.Forced = true
		if k.st.Rejected == "" {
			k.st.Rejected = err.Error()
		}
		if k.history.Failures = 0; k.history.Barren == 0 { // what comes next is another call
			k.history.Last = None
		}
		return nil
	}
	return err
}

// refresh presents a refresh token. One that the cloud refuses is not presented
// again: what is left is the one before, and then the login.
func (k *Keeper) refresh(ctx context.Context, tok Token) error {
	from := k.renewer()
	g, err := k.Provider.refresh(ctx, tok, from.renewer)
	var refusal *profile.Refusal
	switch {
	case err == nil:
		k.take(ctx, g, from)
		return nil
	case errors.As(err, &refusal) && refusal.Refused():
		if !k.without(from) { // one refusal may be an error, and there is nothing else
			return fmt.Errorf("%w; if it stays so, a person must log in with spoke-zone-agent login", err)
		}
		k.Log.Warn("refresh token refused, going on without it", "err", err)
		k.history.Last, k.history.Failures = None, 0 // what comes next is another call
		return nil
	}
	return err
}

// without does without the refresh token of t, if something else can get the
// next token.
func (k *Keeper) without(t Token) bool {
	before := k.spent
	k.spent = append(slices.Clone(before), t.renewer)
	if k.standing().next() == byNothing {
		k.spent = before
		return false
	}
	return true
}

// sessionEnded takes note where a 401 says that the session was ended: its refresh
// token is in vain then.
func (k *Keeper) sessionEnded(why string) {
	if k.Provider == nil {
		return
	}
	for _, text := range k.Provider.Profile.Ended {
		if strings.Contains(why, text) {
			_ = k.without(k.slots.use())
		}
	}
}

// take makes what the cloud gave durable, and only then the token in use. from
// is the token whose refresh token bought it; none if the login did.
func (k *Keeper) take(ctx context.Context, g granted, from Token) {
	now := k.now()
	fresh := Token{raw: g.Token, renewer: g.Renewer, Claims: Claims{Issued: now}}
	old := k.slots.use()
	if g.Extended && g.Token == "" {
		fresh.raw = old.raw
	}
	if g.Life > 0 {
		fresh.Expires = now.Add(g.Life)
	}
	if fresh.renewer == "" {
		fresh.renewer = from.renewer // it serves on (RFC 6749, section 6)
	}
	refused := k.history.Forced
	k.spent, k.dead = nil, ""
	switch {
	case from.IsZero() || k.Provider.Profile.Retire.IsZero():
		k.slots = slots{Cur: fresh}
	default:
		k.slots = slots{Cur: from, Next: fresh}
	}
	k.history.Last, k.history.Failures, k.history.Forced = Renewed, 0, false
	k.st.Rejected, k.st.NeedsLogin = "", false
	if k.history.Barren++; !refused {
		k.history.Barren = 0
	}
	k.st.Renewals++
	k.st.LastRenewal, k.st.LastError, k.st.Short = now, "", strings.Join(g.Short(g.asked), " ")
	if from.IsZero() {
		k.st.Logins++
	}
	k.keep()
	k.announce(fresh)
	if k.st.Short != "" {
		k.Log.Warn("token permits less than was asked for", "token", fresh, "missing", k.st.Short)
	}
	k.Log.Info("token renewed", "token", fresh, "kind", string(k.Provider.Profile.Kind))
	if k.unkept() {
		k.retire(ctx)
	}
}

// takeBrought takes over what a person's login brought.
func (k *Keeper) takeBrought(g granted) {
	k.ended()
	k.take(context.Background(), g, Token{}) // there is no pair before it to retire
}

// retire tells the cloud that the new token is kept, so that it drops the one
// before. That it cannot be told harms nothing.
func (k *Keeper) retire(ctx context.Context) {
	k.retired = time.Now()
	if err := k.Provider.retire(ctx, k.slots.Next); err != nil {
		k.Log.Debug("cloud not told that the token is kept", "err", err)
		return
	}
	k.prove(k.slots.Next)
}
