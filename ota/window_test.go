package ota

import (
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

func TestParseWindow(t *testing.T) {
	for _, s := range []string{"x", "25:00-26:00", "01:00-01:00", "Sat", "1:00-2:00", "01:00", "Sat-Foo 01:00-02:00"} {
		if _, err := ParseWindow(s); err == nil {
			t.Errorf("%q is taken for a window", s)
		}
	}
	week := func(day, hour, minute int) time.Time { return time.Date(2026, 3, 1+day, hour, minute, 0, 0, time.UTC) } // 1 March is a Sunday
	for _, test := range []struct {
		window string
		t      time.Time
		want   bool
	}{
		{"", week(0, 3, 0), true},
		{"01:00-05:00", week(3, 0, 59), false},
		{"01:00-05:00", week(3, 1, 0), true},
		{"01:00-05:00", week(3, 4, 59), true},
		{"01:00-05:00", week(3, 5, 0), false},
		{"Sat,Sun 22:00-06:00", week(6, 23, 0), true},
		{"Sat,Sun 22:00-06:00", week(1, 5, 59), true}, // of Sunday's
		{"Sat,Sun 22:00-06:00", week(1, 22, 0), false},
		{"Sat,Sun 22:00-06:00", week(6, 5, 0), false},
		{"Mon-Fri 00:00-24:00", week(5, 23, 59), true},
		{"Mon-Fri 00:00-24:00", week(6, 0, 0), false},
		{"Sat-Mon 12:00-13:00, Wed 01:00-02:00", week(0, 12, 0), true},
		{"Sat-Mon 12:00-13:00, Wed 01:00-02:00", week(3, 1, 30), true},
		{"Sat-Mon 12:00-13:00, Wed 01:00-02:00", week(4, 1, 30), false},
	} {
		w, err := ParseWindow(test.window)
		if err != nil || w.Open(test.t) != test.want {
			t.Errorf("%q at %v: open %v, %v", test.window, test.t.Format("Mon 15:04"), !test.want, err)
		}
	}
}

// TestWindowFollowsTheLocalClock in every zone that there is, with its changes
// of the clock: a window is open exactly while the clock shows a time in it, and
// Next is the first minute of that.
func TestWindowFollowsTheLocalClock(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Africa/Casablanca", "Pacific/Apia"}
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		clock := rapid.Custom(func(t *rapid.T) string {
			return time.Date(2000, 1, 1, rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute"), 0, 0, time.UTC).Format("15:04")
		})
		from := clock.Draw(t, "from")
		to := clock.Filter(func(s string) bool { return s != from }).Draw(t, "to")
		w, err := ParseWindow(from + "-" + to)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(1_500_000_000, 2_000_000_000).Draw(t, "at"), 0).In(zone)
		shows := func(at time.Time) bool {
			now := at.Format("15:04")
			if from < to {
				return from <= now && now < to
			}
			return from <= now || now < to
		}
		if w.Open(at) != shows(at) {
			t.Fatalf("%s-%s at %v: open %v", from, to, at, w.Open(at))
		}
		next, ok := w.Next(at)
		if !ok || !shows(next) || !next.After(at) {
			t.Fatalf("%s-%s opens after %v at %v, %v", from, to, at, next, ok)
		}
		for m := at.Truncate(time.Minute).Add(time.Minute); m.Before(next); m = m.Add(time.Minute) {
			if shows(m) {
				t.Fatalf("%s-%s: %v is passed over for %v", from, to, m, next)
			}
		}
	})
}
