package conf

import (
	"slices"
	"strings"
)

// A Setting is one key of agent.conf as its manual describes it.
type Setting struct {
	Section string // module.KEY and command.NAME stand for any number of sections
	Key     string
	Default string // as one would write it; empty: see Doc
	Allowed string // which values, in a few words
	Doc     string // what it is for, in a sentence

	at func(scope) value
}

// A scope is where a setting's value lives: the Config, and inside it the
// module or the command whose section is being read.
type scope struct {
	config  *Config
	module  *Module
	command *Command
	upload  *UploadType
	collect *Collect

	install *Install
	rule    *InstallRule
}

const (
	moduleSection  = "module."
	commandSection = "command."
	uploadSection  = "upload."
	collectSection = "collect."

	secondsToMonth = "1s to 30d"
)

// template reports a setting whose section may be there many times.
func (s Setting) template() bool {
	return strings.Contains(s.Section, ".")
}

// Settings returns every setting in the order of the manual.
func Settings() []Setting { return slices.Clone(table) }
