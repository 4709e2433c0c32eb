package conf

import (
	"fmt"
	"strings"
)

// A Fault is one thing that is wrong in the settings.
type Fault struct {
	File    string
	Line    int    // from 1; 0 when it is the file itself
	Setting string // section.key, or [section]; may be empty
	Problem string // what is wrong
	Allowed string // what would be right; may be empty
}

// Error says file:line: section.key: what is wrong (what is allowed).
func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	if f.Setting != "" {
		b.WriteString(": " + f.Setting)
	}
	b.WriteString(": " + f.Problem)
	if f.Allowed != "" {
		b.WriteString(" (" + f.Allowed + ")")
	}
	return b.String()
}

// Faults is everything that is wrong in the settings, in the order of the
// files.
type Faults []Fault

// Error has one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}
