package profile

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a rate limit may ask for.
const (
	minWait = time.Second
	maxWait = time.Hour
)

// aYear in seconds tells an interval from a time since 1970.
const aYear = 366 * 24 * 3600

// Wait is how long an answer asks that no request follows it; zero if it does
// not. It reads Retry-After in both forms (RFC 9110, section 10.2.3) and the
// profile's reset header in both dialects: seconds left, or since 1970. A date
// is compared with the answer's own Date, or with now without one. What makes
// no sense counts as a second.
func (l Limits) Wait(status int, h http.Header, now time.Time) time.Duration {
	limited := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable && h.Get("Retry-After") != ""
	if !limited && !(l.Spent && l.spent(h)) {
		return 0
	}
	names := []string{"Retry-After"}
	if l.Reset != "" {
		names = append(names, l.Reset)
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	wait := minWait
	for _, name := range names {
		if d, ok := interval(h.Get(name), now); ok {
			wait = max(wait, d)
		}
	}
	return min(wait, maxWait)
}

// spent reports whether less than one request remains.
func (l Limits) spent(h http.Header) bool {
	if l.Remaining == "" {
		return false
	}
	n, err := strconv.ParseFloat(item(h.Get(l.Remaining)), 64)
	return err == nil && n < 1
}

// item is the first item of a list, without its parameters: 40 of "40;w=1"
// (draft-ietf-httpapi-ratelimit-headers-03).
func item(s string) string {
	s, _, _ = strings.Cut(s, ",")
	s, _, _ = strings.Cut(s, ";")
	return strings.TrimSpace(s)
}

// interval reads seconds, a time since 1970, or a date.
func interval(s string, now time.Time) (time.Duration, bool) {
	if at, err := http.ParseTime(strings.TrimSpace(s)); err == nil {
		return max(at.Sub(now), 0), true
	}
	f, err := strconv.ParseFloat(item(s), 64)
	switch {
	case err != nil || !(f >= 0 && f < 1<<33):
		return 0, false
	case f > aYear:
		return max(time.Unix(int64(f)+1, 0).Sub(now), 0), true // its second may have begun
	}
	return time.Duration(f * float64(time.Second)), true
}
