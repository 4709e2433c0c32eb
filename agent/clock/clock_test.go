package clock

import (
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func at(wall time.Time, boot time.Duration, id string) Reading {
	return Reading{Wall: wall, Boot: boot, BootID: id}
}

func TestSystemClockIsBelievedOnlyWhereItCanBeTrue(t *testing.T) {
	s := State{Floor: built}
	for _, tt := range []struct {
		name string
		wall time.Time
		want time.Time
	}{
		{"1970", time.Unix(0, 0), built},
		{"just before the floor", built.Add(-time.Second), built},
		{"a year on", built.AddDate(1, 0, 0), built.AddDate(1, 0, 0)},
		{"2038", time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), built},
		{"2099", time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), built},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := s.System(at(tt.wall, 0, "a")); !got.Equal(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLearnedTimeIgnoresStepsAndCountsSuspend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		date := built.Add(time.Duration(rapid.Int64Range(0, int64(Trust)).Draw(t, "date")))
		elapsed := time.Duration(rapid.Int64Range(0, int64(Trust)).Draw(t, "elapsed"))
		wall := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "wall"), 0)
		s := State{Floor: built}.Heard(date, 0, at(time.Unix(0, 0), time.Hour, "a"))
		if got, want := s.Now(at(wall, time.Hour+elapsed, "a")), date.Add(elapsed); !got.Equal(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if got := s.Now(at(wall, elapsed, "b")); got.Before(s.Floor) {
			t.Fatalf("after a reboot %v is before the floor %v", got, s.Floor)
		}
	})
}

func TestFloorOutlivesTheBoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "time.floor")
	boot := at(time.Unix(0, 0), 0, "a")
	open := func() *Clock {
		c := &Clock{Path: path, Built: built, Read: func() Reading { return boot }}
		c.Load()
		return c
	}
	c := open()
	if got := c.Now(); !got.Equal(built) {
		t.Fatalf("before the first answer: got %v, want %v", got, built)
	}
	date := built.AddDate(0, 3, 0)
	c.Learn(date, 2*time.Second)
	if got, want := c.Now(), date.Add(time.Second); !got.Equal(want) {
		t.Fatalf("after an answer: got %v, want %v", got, want)
	}
	boot = at(time.Unix(100, 0), 0, "b")
	c = open()
	if got := c.TLSTime(); !got.Equal(date) {
		t.Fatalf("after a reboot into 1970: got %v, want %v", got, date)
	}
	c.NotBefore(date.AddDate(1, 0, 0))
	if got := c.TLSTime(); !got.Equal(date.AddDate(1, 0, 0)) {
		t.Fatalf("after a token issued later: got %v", got)
	}
}

// A token that lies about its times must not cost the gateway its TLS: not
// while another one is used, and not after the next start.
func TestTokensOfAbsurdTimesAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "time.floor")
	now := built.AddDate(0, 1, 0)
	open := func() *Clock {
		c := &Clock{Path: path, Built: built, Read: func() Reading { return at(now, 0, "a") }}
		c.Load()
		return c
	}
	c := open()
	c.NotBefore(built.AddDate(200, 0, 0))
	if got := c.TLSTime(); !got.Equal(now) {
		t.Errorf("with a token of the far future: got %v, want %v", got, now)
	}
	c.NotBefore(now.AddDate(3, 0, 0))
	if got := open().TLSTime(); !got.Equal(now) {
		t.Errorf("after a restart: got %v, want %v", got, now)
	}
	c.NotBefore(now.AddDate(0, 0, -1))
	if got := c.TLSTime(); !got.Equal(now) {
		t.Errorf("with the next token: got %v, want %v", got, now)
	}
}

func TestReadCountsFromTheBoot(t *testing.T) {
	a, b := Read(), Read()
	if a.BootID == "" || a.BootID != b.BootID || b.Boot < a.Boot || a.Boot == 0 {
		t.Fatalf("%+v then %+v", a, b)
	}
}
