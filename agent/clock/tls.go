package clock

import (
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// steps are how far past the floor the time is sought while nothing has been
// heard. The floor is a token's iat or later, so that a token that can still be
// renewed was issued at most 8 days before: the first two steps find a
// certificate that is valid for 9 days more, also if it was replaced meanwhile.
var steps = []time.Duration{0, 9 * day, 30 * day, 90 * day, 365 * day, 3 * 365 * day}

const day = 24 * time.Hour

// TLS is the time to judge certificates by at r: what was heard since the boot,
// else System. A system clock may be wrong and yet possible: while nothing has
// been heard, each certificate whose time fails has the next time tried that
// may be right, from the floor upwards. None is before the floor: a certificate
// that had expired by then is never taken.
func (s State) TLS(r Reading) time.Time {
	all := s.candidates(r)
	return all[s.Doubts%len(all)]
}

func (s State) candidates(r Reading) []time.Time {
	all := []time.Time{s.Now(r)}
	add := func(t time.Time) {
		if !slices.ContainsFunc(all, t.Equal) {
			all = append(all, t)
		}
	}
	if s.Learned(r) {
		add(s.System(r)) // the cloud's own clock may be wrong
		return all
	}
	for _, step := range steps {
		add(s.floor().Add(step))
	}
	return all
}

// Doubted is s after a certificate's time has failed at TLS.
func (s State) Doubted() State {
	s.Doubts++
	return s
}

// Try calls call, which makes a TLS connection that goes by TLSTime, and calls
// it again with the next time that may be right while a certificate's time is
// what fails. It returns the last error, after each time was tried once.
func (c *Clock) Try(call func() error) error {
	for tries := 1; ; tries++ {
		s, r := c.State()
		err := call()
		if !untimely(err) {
			return err
		}
		c.doubt(s.Doubts)
		if tries >= len(s.candidates(r)) {
			return err
		}
	}
}

// doubt counts one doubt where several callers have seen the same time fail.
func (c *Clock) doubt(seen int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Doubts == seen {
		c.state = c.state.Doubted()
	}
}

// untimely reports whether a certificate has expired or is not yet valid
// (package x509 names both the same).
func untimely(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}
