package upload

import (
	"errors"
	"net/http"
	"time"
)

// A step is one of the two requests of an upload.
type step int

const (
	create step = iota
	put
)

func (s step) String() string { return [...]string{"register", "send contents"}[s] }

// A verdict is what a failed request means for its file.
type verdict int

const (
	// retry: the link or the server, not the file. The same request later.
	retry verdict = iota
	// suspect: the server refuses us or this file, and does not say which. As
	// retry, until it accepts others in the meantime.
	suspect
	// renew: the cloud does not take contents under this id. Register again.
	renew
	// quarantine: it will never take this file.
	quarantine
)

// judge decides by the status of a failed request; 0 means that there was no
// answer, or none that could be understood. renewed says that the id of the
// file is already its second.
func judge(s step, status int, renewed bool) verdict {
	switch {
	case status == http.StatusUnauthorized,
		status == http.StatusProxyAuthRequired,
		status == http.StatusRequestTimeout,
		status == http.StatusMisdirectedRequest,
		status == http.StatusTooEarly,
		status == http.StatusTooManyRequests:
		return retry
	case status == http.StatusForbidden:
		return suspect
	case s == create && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed):
		return suspect // of the endpoint rather than of a file
	case s == put && (status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusGone) && !renewed:
		return renew
	case status >= 400 && status <= 499:
		return quarantine
	}
	return retry
}

// refused is the shape of an error that is an answer of the server.
type refused interface {
	error
	HTTPStatus() int
	RetryAfter() time.Duration
}

// answer returns what the server said in err: zeros if it said nothing.
func answer(err error) (status int, after time.Duration) {
	if r := (refused)(nil); errors.As(err, &r) {
		return r.HTTPStatus(), r.RetryAfter()
	}
	return 0, 0
}

// maxWait bounds what a server may ask for with Retry-After.
const maxWait = time.Hour

var steps = [...]time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}

// Backoff returns how long to wait after the attempt-th failure in a row, from
// 1 on: 15, 30, 60, 120 and then 300 seconds, each a fifth more or less as u in
// [0, 1) draws, so that a fleet that failed together does not come together.
func Backoff(attempt int, u float64) time.Duration {
	d := steps[min(max(attempt, 1), len(steps))-1]
	return max(time.Second, time.Duration(float64(d)*(0.8+0.4*u)))
}

// pause is Backoff, unless the server asked for another time. That is never
// cut short, and spread by a tenth.
func pause(attempt int, after time.Duration, u float64) time.Duration {
	if after <= 0 {
		return Backoff(attempt, u)
	}
	after = min(max(after, time.Second), maxWait)
	return after + time.Duration(float64(after)*u/10)
}
