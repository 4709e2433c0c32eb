package profile

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxLife bounds what is believed of a token's life.
const maxLife = 10 * 365 * day

// life is how long the token of an answer lives, by the first source that makes
// sense. It is elapsed time, so that the cloud's clock and ours may differ.
func (p Profile) life(f members, token string, h http.Header, now time.Time) (time.Duration, Source) {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	for _, s := range p.Expiry {
		var d time.Duration
		switch s {
		case ExpiresIn:
			d = f.seconds("expires_in")
		case CreatedAt:
			d = sinceCreation(f, now)
		case Absolute:
			d = p.untilAbsolute(f.text("expires"), now)
		case JWTExp:
			d = jwtLife(token, now)
		case Fixed:
			d = p.Fixed
		}
		if d > 0 && d <= maxLife {
			return d, s
		}
	}
	return 0, None
}

// seconds is the number at key, which some clouds put into a string.
func (f members) seconds(key string) time.Duration {
	n, err := strconv.ParseFloat(strings.Trim(string(bytes.TrimSpace(f[key])), `"`), 64)
	if err != nil || !(n > 0 && n <= maxLife.Seconds()) {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

// sinceCreation is what is left of a token that the cloud may have made before
// it answered. Where its two clocks do not agree, it tells nothing.
func sinceCreation(f members, now time.Time) time.Duration {
	in, created := f.seconds("expires_in"), date(f["created_at"])
	if in == 0 || created.IsZero() {
		return 0
	}
	age := now.Sub(created)
	if age < -time.Minute || age >= in {
		return 0
	}
	return in - max(age, 0)
}

// date reads seconds since 1970, possibly with a fraction, up to 2242.
func date(raw json.RawMessage) time.Time {
	n, err := strconv.ParseFloat(string(bytes.TrimSpace(raw)), 64)
	if err != nil || !(n > 0 && n < 1<<33) {
		return time.Time{}
	}
	return time.UnixMilli(int64(n * 1000)).UTC()
}

// jwtLife is the life of a JWT by its claims: from its issue on where it names
// that, since our clock may be wrong. 0 if it names no end.
func jwtLife(token string, now time.Time) time.Duration {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > MaxToken {
		return 0
	}
	body, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return 0
	}
	var claims members
	if json.Unmarshal(body, &claims) != nil {
		return 0
	}
	exp, iat := date(claims["exp"]), date(claims["iat"])
	switch {
	case exp.IsZero():
		return 0
	case iat.IsZero():
		return exp.Sub(now)
	}
	return exp.Sub(iat)
}

// Bounds of the zones that a date without one may be in, and of what is added
// to the documented life by the way of the answer.
const (
	eastmost  = 14 * time.Hour
	westmost  = -12 * time.Hour
	zoneStep  = 15 * time.Minute
	zoneSlack = 3 * time.Minute
	leastLife = 10 * time.Minute
)

// untilAbsolute is how long it is until a date without a zone. Where the
// documented life fits it in some zone, it is that life. Otherwise it is read
// as early as it can be meant, and as leastLife where that has passed: asking
// too early costs a call, asking too late the token.
func (p Profile) untilAbsolute(s string, now time.Time) time.Duration {
	t, err := time.Parse(p.Layout, s)
	if err != nil || p.Layout == "" {
		return 0
	}
	zone := t.Sub(now.Add(p.Refreshed))
	if off := zone - zone.Round(zoneStep); p.Refreshed > 0 && off.Abs() <= zoneSlack && zone >= westmost-zoneSlack && zone <= eastmost+zoneSlack {
		return p.Refreshed
	}
	left := t.Sub(now)
	if left < westmost { // past, in any zone
		return 0
	}
	return max(left-eastmost, leastLife)
}
