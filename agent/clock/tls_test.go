package clock

import (
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var errUntimely = fmt.Errorf("POST /loginDevice: %w", x509.CertificateInvalidError{Reason: x509.Expired})

// handshake is a call whose certificate is valid from a to b.
func handshake(c *Clock, a, b time.Time) func() error {
	return func() error {
		if t := c.TLSTime(); t.Before(a) || t.After(b) {
			return errUntimely
		}
		return nil
	}
}

// TestWrongClockGetsThroughTLS: whatever the system clock shows, a certificate
// that lasts for nine days more is taken within one Try, if the floor is no
// older than a token that can still be renewed.
func TestWrongClockGetsThroughTLS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := func(name string, a, b time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(int64(a), int64(b)).Draw(t, name))
		}
		now := built.Add(span("now", 0, 9*365*day))
		iat := now.Add(-span("issued ago", 0, 15*day/2))
		wall := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "wall"), 0)
		c := &Clock{Built: built, Read: func() Reading { return at(wall, 0, "a") }}
		c.Load()
		c.NotBefore(iat)
		if err := c.Try(handshake(c, now.Add(-span("valid since", 0, 80*day)), now.Add(span("valid for", 9*day, 80*day)))); err != nil {
			t.Fatalf("it is %v, the wall clock shows %v: %v", now, wall, err)
		}
	})
}

func TestNoTimeBeforeTheFloorIsTried(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wall := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "wall"), 0)
		s := State{Floor: built, Doubts: rapid.IntRange(0, 100).Draw(t, "doubts")}
		if got := s.TLS(at(wall, 0, "a")); got.Before(built) {
			t.Fatalf("tries %v", got)
		}
	})
}

// TestHeardTimeBeatsTheSystemClock: the floor is not tried once the cloud was
// heard, since a certificate may have expired after it.
func TestHeardTimeBeatsTheSystemClock(t *testing.T) {
	wall := built.AddDate(5, 0, 0)
	c := &Clock{Built: built, Read: func() Reading { return at(wall, time.Hour, "a") }}
	c.Load()
	now := built.AddDate(1, 0, 0)
	c.Learn(now, 0)
	if got := c.TLSTime(); !got.Equal(now) || !c.Learned() {
		t.Fatalf("got %v, want %v", got, now)
	}
	if err := c.Try(handshake(c, built.Add(-day), built.Add(day))); !errors.Is(err, errUntimely) {
		t.Errorf("a certificate of the floor's time: %v", err)
	}
	if err := c.Try(handshake(c, wall.Add(-day), wall.Add(day))); err != nil {
		t.Errorf("a certificate of the system clock's time, where the cloud's clock is wrong: %v", err)
	}
}

func TestOtherFailuresAreNotTriedAgain(t *testing.T) {
	c := &Clock{Built: built}
	c.Load()
	for _, want := range []error{nil, errors.New("no route to host"), x509.UnknownAuthorityError{}, x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}} {
		calls := 0
		err := c.Try(func() error { calls++; return want })
		if calls != 1 || !errors.Is(err, want) {
			t.Errorf("%v: %d calls, got %v", want, calls, err)
		}
	}
}

func TestSharedDoubtCountsOnce(t *testing.T) {
	c := &Clock{Built: built}
	c.Load()
	c.doubt(0)
	c.doubt(0)
	if s, _ := c.State(); s.Doubts != 1 {
		t.Errorf("%d doubts", s.Doubts)
	}
}
