package account

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
)

// An Account is the token of one cloud and what a local program needs to use
// it. Its methods may be called from anywhere.
type Account struct {
	Name    string
	Profile profile.Profile
	Base    *url.URL     // where the cloud's calls begin; the token goes to no other host
	HTTP    *http.Client // with the account's roots
	ByKey   bool         // what Token gives is an API key
	*Keeper
	*Gate
}

// Send is how a request carries what Token gives.
func (a *Account) Send() profile.Send {
	if a.ByKey {
		return a.Profile.Key
	}
	return a.Profile.Send
}

// Time is the time of the account's cloud, as far as it is known.
func (k *Keeper) Time() time.Time { return k.now() }

// ErrNone means that there is no token that is valid for as long as was asked.
var ErrNone = errors.New("no token that lasts")

// Token returns a token that is valid for least at the least. In the early part
// of the time in which it is renewed the one in force serves although renewing
// it fails. In the late part, and where least asks for more than is left, it
// waits for a new one; when ctx ends first or the next attempt is later than
// that, the error, ErrNone, says why there is none. Callers share the attempts
// that the Keeper makes anyway.
func (k *Keeper) Token(ctx context.Context, least time.Duration) (Token, error) {
	for {
		tok, ok, superseded := k.tokens.Get()
		st, changed := k.Status()
		if ok && k.lasts(tok, least) {
			return tok, nil
		}
		if life := tok.Expires.Sub(tok.Issued); ok && !tok.Expires.IsZero() && !tok.Issued.IsZero() && least >= life {
			return Token{}, fmt.Errorf("%w: %v is asked for, and a new token lives for %v", ErrNone, least, life)
		}
		k.want(least)
		if deadline, bounded := ctx.Deadline(); bounded && st.Failures > 0 && time.Until(deadline) < st.NextTry.Sub(k.now()) {
			return Token{}, fmt.Errorf("%w: %s", ErrNone, st.Reason)
		}
		select {
		case <-superseded:
		case <-changed:
		case <-ctx.Done():
			st, _ := k.Status()
			return Token{}, fmt.Errorf("%w: %s", ErrNone, st.Reason)
		}
	}
}

// lasts reports whether tok is valid for least, and outside its late window.
// A token that names no end lasts.
func (k *Keeper) lasts(tok Token, least time.Duration) bool {
	if tok.Expires.IsZero() {
		return true
	}
	left := tok.Expires.Sub(k.now())
	return left >= least && left > late(tok)
}

// lateMost bounds the late window.
const lateMost = 5 * time.Minute

// late is how long before its end a token is given out no more without an
// attempt to get the next.
func late(tok Token) time.Duration {
	if tok.Issued.IsZero() {
		return 0
	}
	return max(0, min(lateMost, tok.Expires.Sub(tok.Issued)/20))
}

// Rejected reports that the cloud refused a token of which hash is Token.Hash,
// for the reason why. It returns false where that token is not in force any
// more: a newer one is there already.
func (k *Keeper) Rejected(hash string, why error) bool {
	tok, ok, _ := k.tokens.Get()
	if !ok || tok.Hash() != hash {
		return false
	}
	k.Reject(tok, why)
	return true
}
