package conf

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// A form is a pattern, and the most bytes of what may match it. The bound is no
// part of the pattern: a counted repetition is compiled to as many steps, and
// those of a few names were more than 1 MB of the daemon's memory.
type form struct {
	most    int
	pattern *regexp.Regexp
}

func newForm(most int, pattern string) form { return form{most, regexp.MustCompile(pattern)} }

// MatchString reports whether s is of the form.
func (f form) MatchString(s string) bool { return len(s) <= f.most && f.pattern.MatchString(s) }

var (
	envName = newForm(128, `^[A-Za-z_][A-Za-z0-9_]*$`)
	iniWord = regexp.MustCompile(`^[^.\[\]\s=:#;"` + "`" + `]+$`)
)

// isFormat reports whether s is raw, json, env:NAME or ini:[SECTION.]KEY.
func isFormat(s string) bool {
	kind, name, _ := strings.Cut(s, ":")
	switch kind {
	case "env":
		return envName.MatchString(name)
	case "ini":
		section, key, dotted := strings.Cut(name, ".")
		return isINIWord(section) && (!dotted || isINIWord(key))
	}
	return s == "raw" || s == "json"
}

func isINIWord(s string) bool { return utf8.RuneCountInString(s) <= 128 && iniWord.MatchString(s) }
