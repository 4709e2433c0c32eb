package conf

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A value is one field of a Config. parse sets it from the text of a setting or
// says what is wrong with that; text is what parse would read the same from.
type value interface {
	parse(text string) error
	text() string
}

// A lexed value does its own reading of quotes and comments: parse gets the
// text as it stands after the delimiter.
type lexed interface{ lexed() }

type textValue struct {
	p   *string
	max int // bytes
}

func (v textValue) text() string { return *v.p }

func (v textValue) parse(s string) error {
	if len(s) > v.max {
		return fmt.Errorf("is %d bytes long", len(s))
	}
	if !printable(s) {
		return fmt.Errorf("%s holds characters that do not print", short(s))
	}
	*v.p = s
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// short quotes s for a message, without what nobody would read.
func short(s string) string {
	const most = 40
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

// A checked value is text that must pass a test; empty always does.
type checked struct {
	textValue
	check func(string) error
}

func (v checked) parse(s string) error {
	if s != "" {
		if err := v.check(s); err != nil {
			return err
		}
	}
	return v.textValue.parse(s)
}

type pathValue struct {
	p        *string
	optional bool
}

func (v pathValue) text() string { return *v.p }

func (v pathValue) parse(s string) error {
	switch {
	case s == "" && v.optional:
	case s == "":
		return errEmpty
	case !printable(s):
		return fmt.Errorf("%s holds characters that do not print", short(s))
	case len(s) >= 4096:
		return fmt.Errorf("is %d bytes long", len(s))
	case !filepath.IsAbs(s):
		return fmt.Errorf("%s is not absolute", short(s))
	default:
		s = filepath.Clean(s)
	}
	*v.p = s
	return nil
}

type durationValue struct {
	p        *time.Duration
	min, max time.Duration
}

func (v durationValue) text() string { return formatDuration(*v.p) }

func (v durationValue) parse(s string) error {
	d, err := parseDuration(s)
	switch {
	case err != nil:
		return err
	case d < v.min:
		return fmt.Errorf("%s is below %s", s, formatDuration(v.min))
	case d > v.max:
		return fmt.Errorf("%s is above %s", s, formatDuration(v.max))
	}
	*v.p = d
	return nil
}

type wholeSeconds struct{ durationValue }

func (v wholeSeconds) parse(s string) error {
	if d, err := parseDuration(s); err == nil && d%time.Second != 0 {
		return fmt.Errorf("%s has a fraction of a second", s)
	}
	return v.durationValue.parse(s)
}

type sizeValue struct {
	p        *int64
	min      int64
	optional bool // empty means 0
}

func (v sizeValue) text() string {
	if *v.p == 0 && v.optional {
		return ""
	}
	return formatSize(*v.p)
}

func (v sizeValue) parse(s string) error {
	if s == "" && v.optional {
		*v.p = 0
		return nil
	}
	n, err := parseSize(s)
	switch {
	case err != nil:
		return err
	case n < v.min:
		return fmt.Errorf("%s is below %s", s, formatSize(v.min))
	case n > maxSize:
		return fmt.Errorf("%s is above %s", s, formatSize(maxSize))
	}
	*v.p = n
	return nil
}

// A boundedSize is a size that has a greatest value of its own.
type boundedSize struct {
	sizeValue
	max int64
}

func (v boundedSize) parse(s string) error {
	if n, err := parseSize(s); err == nil && n > v.max {
		return fmt.Errorf("%s is above %s", s, formatSize(v.max))
	}
	return v.sizeValue.parse(s)
}

type wordValue struct {
	p     *string
	words []string
}

func (v wordValue) text() string { return *v.p }

func (v wordValue) parse(s string) error {
	switch {
	case s == "":
		return errEmpty
	case !slices.Contains(v.words, s):
		return fmt.Errorf("%s is none of the words", short(s))
	}
	*v.p = s
	return nil
}

type numberValue struct {
	p        *int
	min, max int
}

func (v numberValue) text() string { return strconv.Itoa(*v.p) }

func (v numberValue) parse(s string) error {
	if s == "" {
		return errEmpty
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil:
		return fmt.Errorf("%s is no whole number", short(s))
	case n < v.min:
		return fmt.Errorf("%s is below %d", s, v.min)
	case n > v.max:
		return fmt.Errorf("%s is above %d", s, v.max)
	}
	*v.p = n
	return nil
}

type boolValue struct{ p *bool }

func (v boolValue) text() string {
	if *v.p {
		return "yes"
	}
	return "no"
}

func (v boolValue) parse(s string) error {
	switch strings.ToLower(s) {
	case "yes", "true", "on", "1":
		*v.p = true
	case "no", "false", "off", "0":
		*v.p = false
	case "":
		return errEmpty
	default:
		return fmt.Errorf("%s is neither", short(s))
	}
	return nil
}

type levelValue struct{ p *slog.Level }

func (v levelValue) text() string { return strings.ToLower(v.p.String()) }

func (v levelValue) parse(s string) error {
	i := slices.Index([]string{"debug", "info", "warn", "error"}, s)
	if i < 0 {
		return fmt.Errorf("%s is no level", short(s))
	}
	*v.p = []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}[i]
	return nil
}

type argvValue struct{ p *[]string }

func (argvValue) lexed() {}

func (v argvValue) text() string { return joinWords(*v.p) }

func (v argvValue) parse(s string) error {
	argv, err := splitWords(s, "")
	if err != nil {
		return err
	}
	for _, a := range argv {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("%s holds a zero byte", short(a))
		}
	}
	if len(argv) > 0 && argv[0] == "" {
		return fmt.Errorf("the program's name is empty")
	}
	*v.p = argv
	return nil
}

type listValue struct {
	p     *[]string
	check func(string) error
}

func (listValue) lexed() {}

func (v listValue) text() string { return joinWords(*v.p) }

func (v listValue) parse(s string) error {
	list, err := splitWords(s, ",")
	if err != nil {
		return err
	}
	if len(list) > 64 {
		return fmt.Errorf("has %d entries, more than 64", len(list))
	}
	for _, w := range list {
		if err := v.check(w); err != nil {
			return err
		}
	}
	*v.p = list
	return nil
}
