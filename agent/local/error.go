package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// A Code says what kind of failure an Error is.
type Code string

// The codes, and the status they travel under.
const (
	Invalid     Code = "invalid"     // 400: the request is wrong
	Denied      Code = "denied"      // 403: the peer may not do this
	NotFound    Code = "not_found"   // 404: there is no such account or module
	TooLarge    Code = "too_large"   // 413: more than the agent takes
	Busy        Code = "busy"        // 429: the peer asks too often
	Internal    Code = "internal"    // 500: the agent failed
	Refused     Code = "refused"     // 502: the cloud said no
	Unavailable Code = "unavailable" // 503: not now, for the reason given
	NoSpace     Code = "no_space"    // 507: the spool or the disk is full
)

var statusOf = map[Code]int{
	Invalid: http.StatusBadRequest, Denied: http.StatusForbidden, NotFound: http.StatusNotFound,
	TooLarge: http.StatusRequestEntityTooLarge, Busy: http.StatusTooManyRequests, Internal: http.StatusInternalServerError,
	Refused: http.StatusBadGateway, Unavailable: http.StatusServiceUnavailable, NoSpace: http.StatusInsufficientStorage,
}

// An Error is why a call failed. A func of Server that returns one decides the
// answer's status; the Client returns what the Server answered.
type Error struct {
	Code   Code   `json:"code"`
	Reason string `json:"error"`
}

// Errorf returns an Error of that code.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return e.Reason }

// asError finds out what kind of failure err is. Errors of the cloud are known
// by their shape: they tell the status that it answered.
func asError(err error) *Error {
	code := Internal
	var ours *Error
	var cloud interface {
		error
		HTTPStatus() int
	}
	var op *net.OpError
	var get *url.Error
	switch {
	case errors.As(err, &ours) && statusOf[ours.Code] != 0:
		code = ours.Code
	case errors.As(err, &cloud):
		code = ofCloud(cloud.HTTPStatus())
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EROFS):
		code = NoSpace
	case errors.As(err, &op), errors.As(err, &get), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		code = Unavailable
	}
	return &Error{code, string(scrub([]byte(err.Error())))}
}

// ofCloud tells a no from a not now.
func ofCloud(status int) Code {
	if status < 400 || status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests {
		return Unavailable
	}
	return Refused
}
