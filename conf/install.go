package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// An Install is the policy of the privileged installer, from install.conf: what
// it does with a module comes from here alone, whatever the daemon asks for.
type Install struct {
	Agent      string // the daemon's state directory
	State      string // the installer's own
	Run        string // what need not survive a reboot
	Rules      []InstallRule
	MaxPayload int64 // bytes
	KeepDone   int   // results

	any InstallRule // for modules without a section
}

// An InstallRule is the policy for one module.
type InstallRule struct {
	Key      string
	Hook     string // a shipped hook's name, or an absolute path; empty: the file Key in hooks.d
	Require  string // signature, digest or none
	Keys     string // a pattern of minisign public keys' files
	Rollback string // auto or never
}

// Rule returns the policy for a module, which need not be in the file.
func (c Install) Rule(module string) InstallRule {
	i := slices.IndexFunc(c.Rules, func(r InstallRule) bool { return r.Key == module })
	if i < 0 {
		c.any.Key = module
		return c.any
	}
	return c.Rules[i]
}

// InstallSettings returns every setting of install.conf in the order of the
// manual.
func InstallSettings() []Setting { return slices.Clone(installTable) }

var installTable = []Setting{
	{"paths", "agent", "/var/lib/spoke-zone-agent", "an absolute path",
		"The daemon's paths.state, whose directory install holds its requests.",
		func(s scope) value { return pathValue{p: &s.install.Agent} }},
	{"paths", "state", "/var/lib/spoke-zone-installer", "an absolute path",
		"What the installer must not lose; it needs room for a copy of each payload.",
		func(s scope) value { return pathValue{p: &s.install.State} }},
	{"paths", "run", "/run/spoke-zone-installer", "an absolute path",
		"Where the installer tells of its progress.",
		func(s scope) value { return pathValue{p: &s.install.Run} }},

	{"module.KEY", "hook", "", "rauc, swupdate, dpkg, file, or an absolute path",
		"The hook that installs the module's updates; if empty the file KEY in /etc/spoke-zone-agent/hooks.d.",
		func(s scope) value { return checked{textValue{&s.rule.Hook, 1024}, checkHook} }},
	{"module.KEY", "require", "signature", "signature, digest or none",
		"What the notes of a release must prove before its payload reaches the hook: who made it, only what it is, or nothing.",
		func(s scope) value { return wordValue{&s.rule.Require, []string{"signature", "digest", "none"}} }},
	{"module.KEY", "keys", "/etc/spoke-zone-agent/keys/*.pub", "an absolute path, in which * and ? stand for characters",
		"The minisign public keys that may have signed a release: one of them is enough.",
		func(s scope) value { return patternValue{pathValue{p: &s.rule.Keys}} }},
	{"module.KEY", "rollback", "auto", "auto or never",
		"Whether the hook may be asked to go back to the previous version.",
		func(s scope) value { return wordValue{&s.rule.Rollback, []string{"auto", "never"}} }},

	{"limits", "max_payload", "2GiB", "1KiB to 1TiB",
		"A larger payload is refused before it is copied.",
		func(s scope) value { return sizeValue{p: &s.install.MaxPayload, min: 1 << 10} }},
	{"limits", "keep_done", "20", "4 to 1000",
		"How many results are kept.",
		func(s scope) value { return numberValue{&s.install.KeepDone, 4, 1000} }},
}

func checkHook(s string) error {
	if moduleKey.MatchString(s) || filepath.IsAbs(s) && printable(s) {
		return nil
	}
	return fmt.Errorf("%s is neither a shipped hook nor an absolute path", short(s))
}

// A patternValue is a path in which * and ? may stand.
type patternValue struct{ pathValue }

func (v patternValue) parse(s string) error {
	if _, err := filepath.Match(s, ""); err != nil {
		return fmt.Errorf("%s is no pattern", short(s))
	}
	return v.pathValue.parse(s)
}

// DefaultInstall returns the policy of an empty file.
func DefaultInstall() Install {
	var c Install
	for _, row := range installTable {
		if err := row.at(scope{install: &c, rule: &c.any}).parse(row.Default); err != nil {
			panic("conf: default of install.conf " + row.Section + "." + row.Key + ": " + err.Error())
		}
	}
	return c
}

// LoadInstall reads the installer's policy at path. Without a file the defaults
// are in force. The error is a Faults with all that is wrong; of the policy only
// the paths may be used then.
func LoadInstall(path string) (Install, error) {
	r := installReader{policy: DefaultInstall(), file: path, seen: map[string]int{}}
	src, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r.policy, nil
	case err != nil:
		r.fault(place{file: path}, "", cause(err), "")
	default:
		r.read(src)
	}
	if len(r.faults) > 0 {
		return r.policy, r.faults
	}
	return r.policy, nil
}

// An installReader reads install.conf.
type installReader struct {
	reader
	policy Install
	file   string
	seen   map[string]int // section.key: its line
}

func (r *installReader) read(src []byte) {
	if i := bytes.IndexByte(src, 0); i >= 0 {
		r.fault(place{r.file, 1 + bytes.Count(src[:i], []byte("\n"))}, "", "holds a zero byte", "text")
		return
	}
	d := ParseDocument(src)
	if len(d.lines) > maxLines {
		r.fault(place{r.file, maxLines + 1}, "", "has too many lines", fmt.Sprintf("at most %d", maxLines))
		return
	}
	known := false
	for i, l := range d.lines {
		at := place{r.file, i + 1}
		switch l.kind {
		case header:
			known = r.section(at, l.section)
		case junk:
			r.fault(at, "", short(strings.TrimSpace(string(l.text)))+" is no setting", "[section], or key = value")
		case entry:
			if l.section == "" {
				r.fault(at, l.key, "stands before any section", "paths, module.KEY, limits")
			} else if known {
				r.entry(at, l)
			}
		}
	}
}

func (r *installReader) section(at place, name string) (known bool) {
	key, isModule := strings.CutPrefix(name, moduleSection)
	switch {
	case name == "paths" || name == "limits":
		return true
	case !isModule:
		r.fault(at, "["+name+"]", "is no section", "paths, module.KEY, limits")
		return false
	case !moduleKey.MatchString(key):
		r.fault(at, "["+name+"]", short(key)+" is no key of a module", moduleAllowed)
		return false
	case r.rule(key) == nil:
		r.policy.Rules = append(r.policy.Rules, r.policy.Rule(key))
	}
	return true
}

func (r *installReader) rule(key string) *InstallRule {
	i := slices.IndexFunc(r.policy.Rules, func(x InstallRule) bool { return x.Key == key })
	if i < 0 {
		return nil
	}
	return &r.policy.Rules[i]
}

func (r *installReader) entry(at place, l line) {
	name := l.section + "." + l.key
	section, s := l.section, scope{install: &r.policy}
	if key, ok := strings.CutPrefix(section, moduleSection); ok {
		section, s.rule = "module.KEY", r.rule(key)
	}
	i := slices.IndexFunc(installTable, func(row Setting) bool { return row.Section == section && row.Key == l.key })
	switch {
	case i < 0:
		var keys []string
		for _, row := range installTable {
			if row.Section == section {
				keys = append(keys, row.Key)
			}
		}
		r.fault(at, name, "is no setting", strings.Join(keys, ", "))
	case r.seen[name] > 0:
		r.fault(at, name, fmt.Sprintf("is set on line %d already", r.seen[name]), "once")
	default:
		r.seen[name] = at.line
		if err := installTable[i].at(s).parse(l.value()); err != nil {
			r.fault(at, name, err.Error(), installTable[i].Allowed)
		}
	}
}
