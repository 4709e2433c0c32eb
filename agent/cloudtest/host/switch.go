package host

import (
	"fmt"
	"strconv"
	"strings"
)

// A Switch says when a Fault happens. The zero value is off.
type Switch struct {
	times int     // the next so many, then off; negative: always
	every int     // each so many-th
	share float64 // a probability
	arg   string
	ops   []string
}

// Off and Always are the plain positions of a Switch.
var (
	Off    = Switch{}
	Always = Switch{times: -1}
)

// Times makes a fault happen the next n times.
func Times(n int) Switch { return Switch{times: n} }

// Every makes a fault happen each n-th time.
func Every(n int) Switch { return Switch{every: n} }

// Share makes a fault happen with probability p.
func Share(p float64) Switch { return Switch{share: p} }

// With gives the fault its argument, whose meaning the table Faults tells.
func (s Switch) With(arg any) Switch { s.arg = fmt.Sprint(arg); return s }

// On limits the fault to some Operations.
func (s Switch) On(ops ...string) Switch { s.ops = ops; return s }

// String is the Switch in the form that ParseSwitch reads.
func (s Switch) String() string {
	var b strings.Builder
	switch {
	case s.times < 0:
		b.WriteString("always")
	case s.times > 0:
		b.WriteString(strconv.Itoa(s.times))
	case s.every > 0:
		fmt.Fprintf(&b, "1/%d", s.every)
	case s.share > 0:
		b.WriteString(strconv.FormatFloat(100*s.share, 'g', -1, 64) + "%")
	default:
		return "off"
	}
	if s.arg != "" {
		b.WriteString("@" + s.arg)
	}
	if len(s.ops) > 0 {
		b.WriteString(":" + strings.Join(s.ops, ","))
	}
	return b.String()
}

// ParseSwitch reads WHEN[@ARGUMENT][:OPERATION,...], where WHEN is off, always
// (or on), N for the next N times, P% for a probability, or 1/N for each N-th.
func ParseSwitch(text string) (Switch, error) {
	var s Switch
	when, ops, limited := strings.Cut(text, ":")
	when, s.arg, _ = strings.Cut(when, "@")
	if limited {
		s.ops = strings.Split(ops, ",")
	}
	number, percent := strings.CutSuffix(when, "%")
	divisor, nth := strings.CutPrefix(when, "1/")
	var err error
	switch {
	case when == "off":
	case when == "always" || when == "on":
		s.times = -1
	case percent:
		s.share, err = strconv.ParseFloat(number, 64)
		if s.share /= 100; !(s.share >= 0 && s.share <= 1) {
			err = strconv.ErrRange
		}
	case nth:
		if s.every, err = strconv.Atoi(divisor); s.every < 1 {
			err = strconv.ErrRange
		}
	default:
		if s.times, err = strconv.Atoi(when); s.times < 0 {
			err = strconv.ErrRange
		}
	}
	if err != nil {
		return Switch{}, fmt.Errorf("%q: want off, always, N, P%% or 1/N, then @ARGUMENT, then :OPERATION", text)
	}
	return s, nil
}

// Certain reports whether the fault happens every time.
func (s Switch) Certain() bool { return s.times < 0 || s.every == 1 || s.share >= 1 }

// Limited reports whether the fault happens to some operations only.
func (s Switch) Limited() bool { return len(s.ops) > 0 }
