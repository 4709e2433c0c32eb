package scenario

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	maxText      = 64 << 10         // bytes of a scenario
	defaultLimit = 60 * time.Second // of an expectation that names none
	longestLimit = 10 * time.Minute
)

// A Scenario is a text that was understood.
type Scenario struct {
	Name  string
	Shows string // the guarantee, in words

	setup  setup
	steps  []step
	bounds []bound
}

// A step is one statement of the play.
type step struct {
	line  int
	text  string
	act   act           // nil for an expectation
	event *happening    // awaited
	state *condition    // looked at until it holds
	limit time.Duration // of what is awaited
}

// A bound is how often something may happen in the whole play.
type bound struct {
	line  int
	text  string
	most  int
	event happening
}

// Faults are what is wrong with a text, one for each line that is.
type Faults []error

func (f Faults) Error() string { return errors.Join(f...).Error() }

// Unwrap lets errors.Is look at each of them.
func (f Faults) Unwrap() []error { return f }

// Parse reads a scenario. The error is Faults, each with the number of its line.
func Parse(name, text string) (*Scenario, error) {
	s := &Scenario{Name: name, setup: newSetup()}
	var faults Faults
	fault := func(line int, err error) {
		faults = append(faults, fmt.Errorf("%s:%d: %w", name, line, err))
	}
	if len(text) > maxText {
		fault(1, fmt.Errorf("%d bytes are too many: want at most %d", len(text), maxText))
		return nil, faults
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		split, err := splitLine(line)
		if err == nil && len(split) > 0 {
			err = s.add(n, strings.TrimSpace(line), split)
		}
		if err != nil {
			fault(n, err)
		}
	}
	if s.Shows == "" {
		fault(max(1, n), errors.New("it does not say what it shows by a line \"shows TEXT\""))
	}
	if len(s.steps) == 0 {
		fault(max(1, n), errors.New("nothing is done in it"))
	}
	if faults != nil {
		return nil, faults
	}
	return s, nil
}

// add takes one line.
func (s *Scenario) add(n int, text string, line []string) error {
	switch line[0] {
	case "expect":
		st := step{line: n, text: text, limit: defaultLimit}
		rest := line[1:]
		if len(rest) > 1 && rest[0] == "within" {
			limit, err := parseSpan(rest[1])
			if err != nil || limit <= 0 || limit > longestLimit {
				return fmt.Errorf("%q is no limit: want %s, at most %s", rest[1], kinds["SPAN"].want, "10m")
			}
			st.limit, rest = limit, rest[2:]
		}
		if len(rest) == 0 {
			return errors.New("what is expected? write: expect [within SPAN] and one of " + strings.Join(append(heads(happenings), heads(conditions)...), ", "))
		}
		return s.expect(st, rest)
	case "never", "at":
		most, rest := 0, line[1:]
		if line[0] == "at" {
			if len(rest) < 2 || rest[0] != "most" || number(0, 5000)(rest[1]) != nil {
				return errors.New("write: at most COUNT, and an event")
			}
			most, _ = strconv.Atoi(rest[1])
			rest = rest[2:]
		}
		if len(rest) == 0 {
			return errors.New("of what? write one of " + strings.Join(heads(happenings), ", "))
		}
		event, err := choose(happenings, "event", rest)
		if err == nil {
			s.bounds = append(s.bounds, bound{n, text, most, event})
		}
		return err
	}
	for _, f := range settings {
		if line[0] != slots(f.use)[0].name {
			continue
		}
		if len(s.steps) > 0 {
			return fmt.Errorf("%s comes before everything that is done", line[0])
		}
		set, err := choose(settings, "statement", line)
		if err != nil {
			return err
		}
		return set(s)
	}
	do, err := choose(acts, "statement", line)
	if err != nil && strings.Contains(err.Error(), "is no statement") {
		return fmt.Errorf("%q is no statement: want one of %s", line[0],
			strings.Join(append(append(heads(settings), heads(acts)...), "expect", "never", "at most"), ", "))
	}
	if err == nil {
		s.steps = append(s.steps, step{line: n, text: text, act: do})
	}
	return err
}

func (s *Scenario) expect(st step, rest []string) error {
	for _, f := range happenings {
		if slots(f.use)[0].takes(rest[0]) == nil {
			event, err := choose(happenings, "event", rest)
			if err != nil {
				return err
			}
			st.event = &event
			s.steps = append(s.steps, st)
			return nil
		}
	}
	state, err := choose(conditions, "condition", rest)
	if err != nil {
		if strings.Contains(err.Error(), "is no condition") {
			return fmt.Errorf("%q is nothing to expect: want one of %s", rest[0], strings.Join(append(heads(happenings), heads(conditions)...), ", "))
		}
		return err
	}
	st.state = &state
	s.steps = append(s.steps, st)
	return nil
}

// heads are the words that forms begin with.
func heads[T any](forms []form[T]) (all []string) {
	for _, f := range forms {
		all = append(all, strings.Split(slots(f.use)[0].name, "|")...)
	}
	return unique(all)
}

// splitLine parts a line into words. Quotation marks keep blanks together, a #
// at the front of a word begins a comment.
func splitLine(line string) (all []string, err error) {
	rest := strings.TrimSpace(line)
	for rest != "" && rest[0] != '#' {
		var word string
		if rest[0] == '"' {
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				return nil, errors.New("a quotation mark has no other")
			}
			word, rest = rest[1:1+end], rest[end+2:]
			if rest != "" && !strings.ContainsRune(" \t", rune(rest[0])) {
				return nil, fmt.Errorf("a blank is missing behind %q", word)
			}
		} else if end := strings.IndexAny(rest, " \t"); end >= 0 {
			word, rest = rest[:end], rest[end:]
		} else {
			word, rest = rest, ""
		}
		if strings.ContainsFunc(word, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
			return nil, fmt.Errorf("%q is not plain text", word)
		}
		all, rest = append(all, word), strings.TrimLeft(rest, " \t\r\n")
	}
	return all, nil
}

// parseSpan reads what time.ParseDuration does, and days and years.
func parseSpan(s string) (time.Duration, error) {
	for unit, of := range map[string]time.Duration{"d": 24 * time.Hour, "y": 365 * 24 * time.Hour} {
		if n, is := strings.CutSuffix(s, unit); is {
			count, err := strconv.Atoi(n)
			if err != nil || count < -100*365 || count > 100*365 || of > 24*time.Hour && (count < -100 || count > 100) {
				return 0, errKind
			}
			return time.Duration(count) * of, nil
		}
	}
	return time.ParseDuration(s)
}

// parseSize reads 4096, 512KiB or 8MiB.
func parseSize(s string) (int64, error) {
	text, shift := s, 0
	for unit, bits := range map[string]int{"KiB": 10, "MiB": 20} {
		if n, is := strings.CutSuffix(s, unit); is {
			text, shift = n, bits
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > 256<<20>>shift {
		return 0, errKind
	}
	return n << shift, nil
}
