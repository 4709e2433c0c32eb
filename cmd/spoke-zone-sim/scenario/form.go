package scenario

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// A form is one statement as a person writes it: words as they are, a|b for one
// of several, CAPITALS for what a kind describes, [x] for what may be left out
// and x... for what may come many times. The page of the format is made of it.
type form[T any] struct {
	use, doc string
	make     func(w words) T
}

// words are those of a line, by the slots of the form that they fill.
type words map[string][]string

func (w words) one(slot string) string {
	if len(w[slot]) == 0 {
		return ""
	}
	return w[slot][0]
}

func (w words) has(slot string) bool { return len(w[slot]) > 0 }

// The values have been checked when a form is made of them.
func (w words) span(slot string) time.Duration {
	d, _ := parseSpan(w.one(slot))
	return d
}

func (w words) size(slot string) int64 {
	n, _ := parseSize(w.one(slot))
	return n
}

func (w words) number(slot string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(w.one(slot), "/s"))
	return n
}

// A kind is what may stand in the place of a word in capitals.
type kind struct {
	want  string
	check func(string) error
}

var errKind = errors.New("of another kind")

func matches(pattern string) func(string) error {
	re := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return func(s string) error {
		if !re.MatchString(s) {
			return errKind
		}
		return nil
	}
}

var kinds = map[string]kind{
	"SPAN":  {"such as 500ms, 20s, 3m, 12h, 365d or 56y", func(s string) error { _, err := parseSpan(s); return err }},
	"SIZE":  {"such as 4096, 20KiB or 8MiB", func(s string) error { _, err := parseSize(s); return err }},
	"COUNT": {"a number from 1 to 5000", number(1, 5000)},
	"RATE": {"such as 50/s, at most 200/s", func(s string) error {
		n, ok := strings.CutSuffix(s, "/s")
		return errors.Join(number(1, 200)(n), need(ok))
	}},
	"STATUS":  {"a status of HTTP, such as 401", number(100, 599)},
	"MODULE":  {"a module's key: small letters, digits and hyphens", matches(`[a-z0-9][a-z0-9-]{0,63}`)},
	"VERSION": {"a version without blanks", matches(`\S{1,64}`)},
	"TOPIC":   {"a topic below the device's, such as mon/meter", matches(`[a-z0-9][a-z0-9_/#-]{0,63}`)},
	"FILE":    {"the name of a file, without a slash", matches(`[A-Za-z0-9][A-Za-z0-9._-]{0,63}`)},
	"TYPE":    {"a type of data file, such as log", host.OneOf(cloudtest.Types...)},
	"NAME":    {"small letters, digits and hyphens", matches(`[a-z0-9][a-z0-9-]{0,63}`)},
	"FAULT":   {"NAME=SWITCH, as spoke-zone-sim serve --help lists them", checkFault},
	"SETTING": {"SECTION.KEY of agent.conf", matches(`[a-z][a-z0-9.-]*\.[a-z_]+`)},
	"OPTION":  {"life=SPAN, window=SPAN, grace=SPAN, clock=SPAN or seed=NUMBER", checkOption},
	"PATH":    {"names of status --json with dots between, such as token.state or ota.display.phase", matches(`[a-z0-9_-]+(\.[a-z0-9_-]+)*`)},
	"TEXT":    {"a word, or several in quotation marks", func(string) error { return nil }},
}

func need(is bool) error {
	if !is {
		return errKind
	}
	return nil
}

func number(least, most int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		return errors.Join(err, need(n >= least && n <= most))
	}
}

func checkFault(s string) error {
	name, sw, err := splitFault(s)
	if err != nil {
		return err
	}
	return host.NewRules(cloudtest.Faults, cloudtest.Operations, 0).Set(name, sw)
}

func splitFault(s string) (cloudtest.Fault, cloudtest.Switch, error) {
	name, text, is := strings.Cut(s, "=")
	if !is {
		text = "always"
	}
	sw, err := cloudtest.ParseSwitch(text)
	return cloudtest.Fault(name), sw, err
}

// A slot is one word of a form.
type slot struct {
	name           string // in words; the alternatives, or the kind
	optional, many bool
}

func slots(use string) (all []slot) {
	for word := range strings.FieldsSeq(use) {
		s := slot{name: word}
		if inner, is := strings.CutPrefix(s.name, "["); is {
			s.name, s.optional = strings.TrimSuffix(inner, "]"), true
		}
		s.name, s.many = strings.CutSuffix(s.name, "...")
		all = append(all, s)
	}
	return all
}

// takes reports why word cannot fill the slot.
func (s slot) takes(word string) error {
	if k, is := kinds[s.name]; is {
		if err := k.check(word); err != nil {
			return fmt.Errorf("%q is no %s: want %s", word, s.name, k.want)
		}
		return nil
	}
	for option := range strings.SplitSeq(s.name, "|") {
		if word == option {
			return nil
		}
	}
	return fmt.Errorf("%q: want %s", word, strings.ReplaceAll(s.name, "|", ", "))
}

// match fills the slots of a form with the words of a line.
func match(use string, line []string) (words, error) {
	got := words{}
	for _, s := range slots(use) {
		for first := true; first || s.many; first = false {
			if len(line) == 0 {
				if s.optional || !first {
					break
				}
				return nil, fmt.Errorf("%s is missing", s.name)
			}
			if err := s.takes(line[0]); err != nil {
				if s.optional || !first {
					break
				}
				return nil, err
			}
			got[s.name], line = append(got[s.name], line[0]), line[1:]
		}
	}
	if len(line) > 0 {
		return nil, fmt.Errorf("%q is too much", line[0])
	}
	return got, nil
}

// choose makes of a line what the first form says that it matches. The error
// lists what is allowed.
func choose[T any](forms []form[T], what string, line []string) (made T, err error) {
	var fit, first []string
	var last error
	for _, f := range forms {
		head := slots(f.use)[0]
		if head.takes(line[0]) != nil {
			first = append(first, strings.Split(head.name, "|")...)
			continue
		}
		got, err := match(f.use, line)
		if err == nil {
			return f.make(got), nil
		}
		fit, last = append(fit, f.use), err
	}
	if len(fit) > 0 {
		return made, fmt.Errorf("%w; write: %s", last, strings.Join(fit, ", or: "))
	}
	return made, fmt.Errorf("%q is no %s: want one of %s", line[0], what, strings.Join(unique(first), ", "))
}

func unique(all []string) (kept []string) {
	seen := map[string]bool{}
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			kept = append(kept, s)
		}
	}
	return kept
}
