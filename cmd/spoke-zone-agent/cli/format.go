package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// printable is s without what could move a terminal's cursor: errors and
// version names come from other machines. Lines and tabs stay.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// oneLine is s as printable words in one line.
func oneLine(s string) string { return strings.Join(strings.FieldsFunc(printable(s), isBreak), " ") }

func isBreak(r rune) bool { return r == '\n' || r == '\t' }

// bytesText is a size for people, in binary units.
func bytesText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f /= 1024; f < 1023.95 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// spanText is a duration for people: its two largest units.
func spanText(d time.Duration) string {
	d = d.Abs()
	days, h, m, s := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case days >= 1000:
		return fmt.Sprintf("%d years", days/365)
	case days > 0:
		return units(days, "d", h, "h")
	case h > 0:
		return units(h, "h", m, "min")
	case m > 0:
		return units(m, "min", s, "s")
	}
	return fmt.Sprintf("%d s", s)
}

func units(large int, unit string, small int, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d %s", large, unit)
	}
	return fmt.Sprintf("%d %s %d %s", large, unit, small, smallUnit)
}

// timeText is a time for people, in the gateway's zone, and how far away it is.
func timeText(t, now time.Time) string {
	away := "in " + spanText(t.Sub(now))
	if t.Before(now) {
		away = spanText(now.Sub(t)) + " ago"
	}
	return t.Local().Format("2006-01-02 15:04 MST") + " (" + away + ")"
}

// writeJSON writes v for people who pipe it and for programs.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
