package ota

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

const (
	minDelay      = time.Second
	firstDelay    = 5 * time.Second
	maxDelay      = 15 * time.Minute
	maxRetryAfter = 6 * time.Hour
)

// backoff is how long to wait after so many failures in a row: anything up to
// 5 s, 10 s, 20 s ... 15 min (full jitter, by the draw u of [0, 1)), but at least
// 1 s.
func backoff(failures int, u float64) time.Duration {
	most := maxDelay
	if n := max(failures-1, 0); n < 8 {
		most = min(most, firstDelay<<n)
	}
	return max(minDelay, time.Duration(u*float64(most)))
}

// retryAfter is how long the server asks to wait, between 1 s and 6 h; 0 if it
// does not say. A date is compared with the server's own clock where it shows it.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := h.Get("Retry-After")
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return clampRetry(time.Duration(min(n, math.MaxInt32)) * time.Second)
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return clampRetry(at.Sub(now))
}

func clampRetry(d time.Duration) time.Duration { return min(max(d, minDelay), maxRetryAfter) }
