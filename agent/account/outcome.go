package account

import (
	"errors"
	"net/http"
	"time"
)

// httpError is the shape of an answer with a status other than 2xx.
type httpError interface {
	error
	HTTPStatus() int
	RetryAfter() time.Duration // zero if the cloud named none
}

// outcome says what err, from a login, means for the next attempt, and how long
// the cloud asked to wait.
func outcome(err error) (Outcome, time.Duration) {
	if errors.Is(err, ErrNeedsLogin) {
		return Refused, 0
	}
	var he httpError
	if !errors.As(err, &he) {
		return Unreachable, 0
	}
	if r, ok := he.(interface{ Refused() bool }); ok && r.Refused() {
		return Refused, 0
	}
	switch he.HTTPStatus() {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return Refused, 0
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return Limited, he.RetryAfter()
	}
	return Unreachable, 0
}
