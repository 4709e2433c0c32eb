package mqtt

import "time"

// ladder is how long the waits after failed attempts are at most.
var ladder = [...]time.Duration{
	5 * time.Second, 15 * time.Second, 30 * time.Second,
	60 * time.Second, 120 * time.Second, 300 * time.Second,
}

// minGap is the least time from one attempt to the next, whatever the reason.
const minGap = time.Second

// Backoff returns how long to wait after the attempt'th failure in a row,
// counted from 1; u is a random draw from [0, 1). The wait is capped first and
// drawn then, evenly from one second to 5, 15, 30, 60, 120 or 300 s, so that a
// fleet that lost its broker stays spread at the cap too.
func Backoff(attempt int, u float64) time.Duration {
	attempt = min(max(attempt, 1), len(ladder))
	most := ladder[attempt-1]
	return minGap + time.Duration(min(max(u, 0), 1)*float64(most-minGap))
}
