package agent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/api"
)

// renewWait is how long a call that got a 401 waits for the renewal that it has
// caused.
const renewWait = 30 * time.Second

type tokenKey struct{}

// tokenOf is api.Client's Token: the one that authorized has put into ctx.
func tokenOf(ctx context.Context) (string, error) {
	tok, ok := ctx.Value(tokenKey{}).(account.Token)
	if !ok {
		return "", errors.New("no token")
	}
	return tok.Raw(), nil
}

// authorized makes a call with the token in force, waiting for the first one.
// A 401 has the token judged by the cloud, and the call made again while a new
// token comes and tries are left. What the cloud says of the token goes to the
// keeper.
func authorized(ctx context.Context, keeper *account.Keeper, tries int, call func(context.Context) error) error {
	for {
		tok, superseded, err := keeper.Current(ctx)
		if err != nil {
			return err
		}
		err = call(context.WithValue(ctx, tokenKey{}, tok))
		switch {
		case err == nil:
			keeper.Prove(tok)
			return nil
		case status(err) != http.StatusUnauthorized:
			return err
		}
		keeper.Reject(tok, err)
		if tries--; !closedWithin(ctx, superseded, renewWait) || tries == 0 {
			return err
		}
	}
}

// closedWithin waits for ch, at most d.
func closedWithin(ctx context.Context, ch <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ch:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// status is the HTTP status in err, or 0.
func status(err error) int {
	var se *api.StatusError
	if errors.As(err, &se) {
		return se.HTTPStatus()
	}
	return 0
}
