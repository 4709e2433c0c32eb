package account

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// A world is what surrounds one device for a simulated year: the true time, the
// network and the cloud. Its time passes also while the device is suspended,
// when no timer of the device does.
type world struct {
	seed    uint64
	rng     *rand.Rand
	jumped  atomic.Int64 // nanoseconds that the true time is ahead of the device's timers
	linked  bool         // there is a network
	episode string       // what is wrong with the cloud; "" if nothing
	until   time.Time    // the end of the episode
	certs   time.Time    // when a certificate of the cloud became valid
	tokens  map[string]*issued
	given   []string // the tokens in order
	issues  int
	logins  int
	broken  []time.Time // when the cloud has misbehaved
}

// An issued token, as the cloud knows it. A stillborn one was given out and is
// refused nevertheless: its transaction was rolled back.
type issued struct {
	expires   time.Time
	stillborn bool
}

const (
	life    = 7 * 24 * time.Hour
	margin  = 12 * time.Hour // before and after the expiry
	chance  = 10 * time.Minute
	rekeyed = 60 * 24 * time.Hour // of the cloud's certificate, which lives for 90 days
)

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.jumped.Load())) }

// noise says what is wrong with the cloud in the minute of t: 3 in 100.
func (w *world) noise(t time.Time) int {
	m := rand.NewPCG(w.seed, uint64(t.Unix()/60))
	if n := m.Uint64() % 100; n < 3 {
		return 1 + int(m.Uint64()%4)
	}
	return 0
}

func (w *world) issue() string {
	w.issues++
	exp := w.now().Add(life)
	raw := jwt(fmt.Sprintf(`{"deviceId":%d,"prefix":"mrs","iat":%d,"exp":%d}`, w.seed, w.now().Unix(), exp.Unix()), w.issues)
	w.tokens[raw] = &issued{expires: time.Unix(exp.Unix(), 0)}
	w.given = append(w.given, raw)
	return raw
}

func (w *world) usable(raw string) bool {
	t := w.tokens[raw]
	return t != nil && !t.stillborn && w.now().Before(t.expires)
}

// renewable reports whether a login with raw can ever succeed from now on.
func (w *world) renewable(raw string) bool {
	t := w.tokens[raw]
	return t != nil && !t.stillborn && !w.now().After(t.expires.Add(margin))
}

// handshake is TLS with a client that takes it to be the time given.
func (w *world) handshake(t time.Time) error {
	valid := w.certs.Add(w.now().Sub(w.certs).Truncate(rekeyed))
	if t.Before(valid.Add(-time.Hour)) || t.After(valid.Add(90*24*time.Hour)) {
		return fmt.Errorf("POST /loginDevice: %w", x509.CertificateInvalidError{Reason: x509.Expired})
	}
	return nil
}

// fault is what is wrong with the cloud at the moment. It may be after the
// token was issued: then lost is true.
func (w *world) fault() (lost bool, err error) {
	noise := w.noise(w.now())
	switch {
	case w.episode == "refusing", noise == 1:
		return false, statusError{code: []int{400, 401, 403}[w.seed%3]}
	case w.episode == "limited":
		return false, statusError{code: 429, after: min(w.until.Sub(w.now()), time.Duration(10+w.seed%300)*time.Second)}
	case w.episode == "broken", noise == 2:
		return false, statusError{code: 500}
	case w.episode == "losing", noise == 3:
		return true, io.ErrUnexpectedEOF
	case w.episode == "silent", noise == 4:
		return false, errors.New("i/o timeout")
	}
	return false, nil
}

// login is POST /loginDevice, once the connection stands.
func (w *world) login(raw string) (string, error) {
	w.logins++
	lost, err := w.fault()
	if err != nil && !lost {
		return "", err
	}
	t := w.tokens[raw]
	switch {
	case t == nil && w.seed%2 == 0: // a token of no shape it knows
		return "", statusError{code: 500}
	case t == nil || t.stillborn || !w.renewable(raw):
		return "", statusError{code: 401}
	case t.expires.Sub(w.now()) > margin:
		return "", err
	}
	fresh := w.issue()
	if w.rng.IntN(50) == 0 {
		w.tokens[fresh].stillborn = true
		w.broken = append(w.broken, w.now())
	}
	if lost {
		return "", err
	}
	return fresh, nil
}

// A span is a time in which the device was on, awake and had a network, and no
// episode was on.
type span struct{ from, to time.Time }

// chanceWithin reports whether there was a chance to renew between a and b: ten
// minutes without noise in one of spans.
func (w *world) chanceWithin(spans []span, a, b time.Time) bool {
	for _, s := range spans {
		from, to := later(s.from, a), s.to
		if b.Before(to) {
			to = b
		}
		run := from
		for t := from.Truncate(time.Minute); t.Before(to); t = t.Add(time.Minute) {
			end := t.Add(time.Minute)
			misbehaved := slices.ContainsFunc(w.broken, func(m time.Time) bool { return !m.Before(t) && m.Before(end) })
			if w.noise(t) != 0 || misbehaved {
				run = end
			}
			if to.Before(end) {
				end = to
			}
			if end.Sub(run) >= chance {
				return true
			}
		}
	}
	return false
}
