package main

import (
	"fmt"
	"slices"
	"strings"
)

// A settings is an INI file whose sections keep their order.
type settings struct {
	order  []string
	values map[string][]string
}

func (s *settings) add(section, key, value string) {
	if s.values == nil {
		s.values = map[string][]string{}
	}
	if _, known := s.values[section]; !known {
		s.order = append(s.order, section)
	}
	lines := slices.DeleteFunc(s.values[section], func(line string) bool { return strings.HasPrefix(line, key+" = ") })
	s.values[section] = append(lines, key+" = "+value)
}

func (s *settings) String() string {
	var b strings.Builder
	b.WriteString("# A gateway of spoke-zone-sim.\n")
	for _, section := range s.order {
		fmt.Fprintf(&b, "\n[%s]\n%s\n", section, strings.Join(s.values[section], "\n"))
	}
	return b.String()
}
