package conf

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxLines   = 4096 // of one file
	maxDropIns = 256

	builtinCommand = "diagnostics" // which the agent carries out itself
)

// Load reads the settings at path and those in the files path.d/*.conf, in the
// order of their names: of a key that is set several times the last one counts.
// What is not there, the files included, has its default. The error is a
// Faults with all that is wrong; the Config then has the rest.
func Load(path string) (Config, error) {
	r := reader{config: Default(), seen: map[string]place{}}
	r.file(path)
	for _, name := range r.dropIns(path + ".d") {
		r.file(name)
	}
	r.crossCheck()
	if len(r.faults) == 0 {
		return r.config, nil
	}
	slices.SortStableFunc(r.faults, func(a, b Fault) int {
		return cmp.Or(slices.Index(r.files, a.File)-slices.Index(r.files, b.File), a.Line-b.Line)
	})
	return r.config, r.faults
}

// A place is where a setting was made.
type place struct {
	file string
	line int
}

// A reader lays files over the defaults.
type reader struct {
	config Config
	faults Faults
	files  []string
	seen   map[string]place // by section.key: the one in force
}

func (r *reader) fault(at place, setting, problem, allowed string) {
	r.faults = append(r.faults, Fault{at.file, at.line, setting, problem, allowed})
}

func (r *reader) dropIns(dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.files = append(r.files, dir)
		r.fault(place{file: dir}, "", cause(err), "")
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".conf") && e.Name()[0] != '.' {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	if len(names) > maxDropIns {
		r.files = append(r.files, dir)
		r.fault(place{file: dir}, "", fmt.Sprintf("holds %d files", len(names)), fmt.Sprintf("at most %d", maxDropIns))
		names = names[:maxDropIns]
	}
	return names
}

func (r *reader) file(name string) {
	r.files = append(r.files, name)
	src, err := readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.fault(place{file: name}, "", cause(err), "")
		return
	}
	r.text(name, src)
}

func (r *reader) text(name string, src []byte) {
	if i := bytes.IndexByte(src, 0); i >= 0 {
		line := 1 + bytes.Count(src[:i], []byte("\n"))
		r.fault(place{name, line}, "", "holds a zero byte", "text")
		return
	}
	d := ParseDocument(src)
	if len(d.lines) > maxLines {
		r.fault(place{name, maxLines + 1}, "", "has too many lines", fmt.Sprintf("at most %d", maxLines))
		return
	}
	known := false // the section in force
	for i, l := range d.lines {
		at := place{name, i + 1}
		switch l.kind {
		case header:
			known = r.section(at, l.section)
		case junk:
			r.fault(at, "", short(strings.TrimSpace(string(l.text)))+" is no setting", "[section], or key = value")
		case entry:
			if l.section == "" {
				r.fault(at, l.key, "stands before any section", sectionsAllowed())
			} else if known {
				r.entry(at, l)
			}
		}
	}
}

// section makes the module or the command that a header is the first to name.
func (r *reader) section(at place, name string) (known bool) {
	title := "[" + name + "]"
	if key, ok := strings.CutPrefix(name, moduleSection); ok {
		if !moduleKey.MatchString(key) {
			r.fault(at, title, short(key)+" is no key of a module", moduleAllowed)
			return false
		}
		if r.module(key) == nil {
			r.config.Modules = append(r.config.Modules, Module{Key: key})
			setDefaults("module.KEY", scope{module: r.module(key)})
		}
		return true
	}
	if key, ok := strings.CutPrefix(name, commandSection); ok {
		if !commandName.MatchString(key) || len(key) > 128 {
			r.fault(at, title, short(key)+" is no name of a command", commandAllowed)
			return false
		}
		if key == builtinCommand {
			r.fault(at, title, "is built in", "any other name")
			return false
		}
		if r.command(key) == nil {
			r.config.Commands = append(r.config.Commands, Command{Name: key})
			setDefaults("command.NAME", scope{command: r.command(key)})
		}
		return true
	}
	if key, ok := strings.CutPrefix(name, uploadSection); ok {
		if !slices.Contains(dataFileTypes, key) {
			r.fault(at, title, short(key)+" is no type of data files", strings.Join(dataFileTypes, ", "))
			return false
		}
		if r.uploadType(key) == nil {
			r.config.UploadTypes = append(r.config.UploadTypes, UploadType{Type: key})
			setDefaults("upload.TYPE", scope{upload: r.uploadType(key)})
		}
		return true
	}
	if key, ok := strings.CutPrefix(name, collectSection); ok {
		if !collectName.MatchString(key) {
			r.fault(at, title, short(key)+" is no name", collectAllowed)
			return false
		}
		if r.collect(key) == nil {
			r.config.Collect = append(r.config.Collect, Collect{Name: key})
			setDefaults("collect.NAME", scope{collect: r.collect(key)})
			r.seen[name] = at
		}
		return true
	}
	if len(keysOf(name)) == 0 {
		r.fault(at, title, "is no section", sectionsAllowed())
		return false
	}
	return true
}

func setDefaults(section string, s scope) {
	for _, row := range table {
		if row.Section == section {
			_ = row.at(s).parse(row.Default) // the tests read every default
		}
	}
}

func (r *reader) entry(at place, l line) {
	name := l.section + "." + l.key
	s := scope{config: &r.config}
	section := l.section
	if key, ok := strings.CutPrefix(section, moduleSection); ok {
		section, s.module = "module.KEY", r.module(key)
	} else if key, ok := strings.CutPrefix(section, commandSection); ok {
		section, s.command = "command.NAME", r.command(key)
	} else if key, ok := strings.CutPrefix(section, uploadSection); ok {
		section, s.upload = "upload.TYPE", r.uploadType(key)
	} else if key, ok := strings.CutPrefix(section, collectSection); ok {
		section, s.collect = "collect.NAME", r.collect(key)
	}
	i := slices.IndexFunc(table, func(row Setting) bool { return row.Section == section && row.Key == l.key })
	if i < 0 {
		r.fault(at, name, "is no setting", strings.Join(keysOf(section), ", "))
		return
	}
	v := table[i].at(s)
	text := l.value()
	if _, ok := v.(lexed); ok {
		text = l.raw()
	}
	if err := v.parse(text); err != nil {
		r.fault(at, name, err.Error(), table[i].Allowed)
		return
	}
	r.seen[name] = at
}

func keysOf(section string) (keys []string) {
	for _, row := range table {
		if row.Section == section {
			keys = append(keys, row.Key)
		}
	}
	return keys
}

func sectionsAllowed() string {
	var names []string
	for _, row := range table {
		if !slices.Contains(names, row.Section) {
			names = append(names, row.Section)
		}
	}
	return strings.Join(names, ", ")
}

// crossCheck looks at settings that are right by themselves and wrong together.
func (r *reader) crossCheck() {
	for _, m := range r.config.Modules {
		if len(m.VersionCommand) > 0 && m.VersionFile != "" {
			name := moduleSection + m.Key
			r.conflict(name+".version_command", name+".version_file", "both are set", "one of the two")
		}
	}
	for _, c := range r.config.Collect {
		if name := collectSection + c.Name; len(c.Files) == 0 {
			r.fault(r.seen[name], "["+name+"]", "names no files", "files = /var/log/NAME.log")
		}
	}
	if t := r.config.Token; t.Spread > t.RenewBefore {
		r.conflict("token.renew_before", "token.spread",
			formatDuration(t.Spread)+" of spread is above the "+formatDuration(t.RenewBefore)+" of renew_before",
			"spread is 0s to renew_before")
	}
}

// conflict is a fault of two settings, reported at the one that was made last.
func (r *reader) conflict(a, b, problem, allowed string) {
	x, y := r.seen[a], r.seen[b]
	if cmp.Or(slices.Index(r.files, x.file)-slices.Index(r.files, y.file), x.line-y.line) > 0 {
		a, b, y = b, a, x
	}
	r.fault(y, b, "with "+a+": "+problem, allowed)
}

// cause is an error without the name of the file that it is about.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Op + ": " + pe.Err.Error()
	}
	return err.Error()
}
