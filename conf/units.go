package conf

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var errEmpty = errors.New("is empty")

const maxSize = 1 << 40

var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

// parseDuration reads whole numbers with units, such as 15s, 1d12h or 1500ms.
func parseDuration(s string) (time.Duration, error) {
	if s == "" {
		return 0, errEmpty
	}
	var sum time.Duration
	for rest := s; rest != ""; {
		n, tail, err := leadingNumber(rest)
		if err != nil {
			return 0, fmt.Errorf("%s is not a duration such as 15s, 12h or 7d", short(s))
		}
		name := tail[:len(tail)-len(strings.TrimLeft(tail, "abcdefghijklmnopqrstuvwxyz"))]
		unit := time.Duration(0)
		for _, u := range durationUnits {
			if u.name == name {
				unit = u.unit
			}
		}
		switch {
		case name == "":
			return 0, fmt.Errorf("%s lacks a unit: ms, s, m, h or d", short(s))
		case unit == 0:
			return 0, fmt.Errorf("%s has the unit %s, which is none of ms, s, m, h and d", short(s), short(name))
		case n > int64(math.MaxInt64-sum)/int64(unit):
			return 0, fmt.Errorf("%s is too long", short(s))
		}
		sum += time.Duration(n) * unit
		rest = tail[len(name):]
	}
	return sum, nil
}

// leadingNumber reads the digits at the start of s.
func leadingNumber(s string) (n int64, rest string, err error) {
	rest = strings.TrimLeft(s, "0123456789")
	n, err = strconv.ParseInt(s[:len(s)-len(rest)], 10, 64)
	return n, rest, err
}

func formatDuration(d time.Duration) string {
	var b strings.Builder
	for _, u := range durationUnits {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

var sizeUnits = []struct {
	name string
	unit int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
}

// parseSize reads a whole number of bytes with a unit, such as 512KiB. Decimal
// units are refused rather than guessed at.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, errEmpty
	}
	n, tail, err := leadingNumber(s)
	if err != nil {
		return 0, fmt.Errorf("%s is not a size such as 512KiB or 1MiB", short(s))
	}
	tail = strings.TrimSpace(tail)
	for _, u := range sizeUnits {
		if u.name == tail {
			if n > math.MaxInt64/u.unit {
				return 0, fmt.Errorf("%s is too large", short(s))
			}
			return n * u.unit, nil
		}
	}
	if tail == "" {
		return 0, fmt.Errorf("%s lacks a unit: B, KiB, MiB, GiB or TiB", short(s))
	}
	return 0, fmt.Errorf("%s has the unit %s, which is none of B, KiB, MiB, GiB and TiB", short(s), short(tail))
}

func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n >= u.unit && n%u.unit == 0 {
			return strconv.FormatInt(n/u.unit, 10) + u.name
		}
	}
	return "0B"
}
