package ota

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Window is the times of a week at which updates may be installed, by the
// local clock. The zero Window is always open. Where the clock is put forward,
// the times that it does not show do not come; where it is put back, those that
// it shows twice come twice.
type Window struct{ spans []daySpan }

// A daySpan is of minutes of a day, on some days. It may pass midnight.
type daySpan struct {
	days     [7]bool // by time.Weekday, on which it begins
	from, to int     // minutes since midnight; to may be less than from
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseWindow reads spans of time, each with the days before it that it is for:
// "01:00-05:00, Sat,Sun 22:00-06:00". A span that passes midnight counts to the
// day on which it begins.
func ParseWindow(s string) (Window, error) {
	var w Window
	var days [7]bool
	named := false
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if on, ok := parseDays(word); ok {
			for d := range days {
				days[d] = days[d] || on[d]
			}
			named = true
			continue
		}
		from, to, ok := strings.Cut(word, "-")
		a, aok := parseClock(from)
		b, bok := parseClock(to)
		if !ok || !aok || !bok || a == b {
			return Window{}, fmt.Errorf("%s is neither a day nor a span of time", quote(word))
		}
		if !named {
			days = [7]bool{true, true, true, true, true, true, true}
		}
		w.spans = append(w.spans, daySpan{days, a, b})
		days, named = [7]bool{}, false
	}
	if named {
		return Window{}, fmt.Errorf("%s ends in a day without a time", quote(s))
	}
	return w, nil
}

// parseDays reads Sat, or Mon-Fri, or Sat-Mon.
func parseDays(s string) (days [7]bool, ok bool) {
	first, last, isRange := strings.Cut(strings.ToLower(s), "-")
	a := slices.Index(dayNames, first)
	if !isRange {
		last = first
	}
	b := slices.Index(dayNames, last)
	if a < 0 || b < 0 {
		return days, false
	}
	for d := a; ; d = (d + 1) % 7 {
		days[d] = true
		if d == b {
			return days, true
		}
	}
}

func parseClock(s string) (minutes int, ok bool) {
	if s == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", s)
	return 60*t.Hour() + t.Minute(), err == nil && len(s) == len("15:04")
}

// Always reports whether w is open at all times.
func (w Window) Always() bool { return len(w.spans) == 0 }

// Open reports whether w is open at t, by the clock of t's zone.
func (w Window) Open(t time.Time) bool {
	minute, day := 60*t.Hour()+t.Minute(), t.Weekday()
	before := (day + 6) % 7
	for _, s := range w.spans {
		switch {
		case s.from < s.to && s.days[day] && s.from <= minute && minute < s.to,
			s.from > s.to && s.days[day] && s.from <= minute,
			s.from > s.to && s.days[before] && minute < s.to:
			return true
		}
	}
	return w.Always()
}

// Next is the first minute after t at which w is open, in t's zone, if there is
// one within two weeks.
func (w Window) Next(t time.Time) (time.Time, bool) {
	t = t.Truncate(time.Minute)
	for range 14 * 24 * 60 {
		t = t.Add(time.Minute)
		if w.Open(t) {
			return t, true
		}
	}
	return time.Time{}, false
}
