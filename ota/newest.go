package ota

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrName means that a module, id, version or note from outside is not one that
// may name a file, a line on a terminal or a word of an installer.
var ErrName = errors.New("name refused")

// The longest names, in bytes.
const (
	maxName    = 64
	maxVersion = 128
	maxNotes   = 16 << 10
)

// A File is one release in the catalogue.
type File struct {
	ID       string    `json:"id"` // opaque
	Module   string    `json:"module"`
	Version  Version   `json:"version"`
	Active   bool      `json:"active"`
	Created  time.Time `json:"created,omitzero"`  // zero if unknown
	Released time.Time `json:"released,omitzero"` // zero if unknown
	Notes    string    `json:"notes,omitempty"`
}

// Check refuses a file whose words are unsafe, with an error that names it and
// is ErrName. The id becomes part of a path, the version part of a sentence;
// notes are only ever shown, so they may hold slashes and new lines.
func (f File) Check() error {
	err := checkName("module", f.Module)
	if err == nil {
		err = checkName("id", f.ID)
	}
	if err == nil {
		err = checkVersion(f.Version)
	}
	if err == nil {
		err = checkText("notes", f.Notes, maxNotes, "\n\r\t")
	}
	if err != nil {
		return fmt.Errorf("file %s: %w", quote(f.ID), err)
	}
	return nil
}

// checkName allows letters, digits and ._- in a name of at most maxName bytes
// that begins with a letter or digit.
func checkName(what, s string) error {
	if err := checkText(what, s, maxName, ""); err != nil {
		return err
	}
	for i := range len(s) {
		c := s[i]
		ascii := digit(c) || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !ascii && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return fmt.Errorf("%s %s: %w: character %q", what, quote(s), ErrName, c)
		}
	}
	if s == "" {
		return fmt.Errorf("%s: %w: empty", what, ErrName)
	}
	if strings.Contains(s, "..") {
		return fmt.Errorf("%s %s: %w: \"..\"", what, quote(s), ErrName)
	}
	return nil
}

func checkVersion(v Version) error {
	s := string(v)
	if err := checkText("version", s, maxVersion, ""); err != nil {
		return err
	}
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Cf, r) }):
		return fmt.Errorf("version %s: %w: invisible character", quote(s), ErrName)
	case v.elements() == nil:
		return fmt.Errorf("version %s: %w: says nothing", quote(s), ErrName)
	case strings.ContainsAny(s, `/\`):
		return fmt.Errorf("version %s: %w: slash", quote(s), ErrName)
	case strings.Contains(s, ".."):
		return fmt.Errorf("version %s: %w: \"..\"", quote(s), ErrName)
	}
	return nil
}

// checkText allows printable UTF-8 and the control characters given.
func checkText(what, s string, limit int, control string) error {
	if len(s) > limit {
		return fmt.Errorf("%s %s: %w: %d bytes (at most %d)", what, quote(s), ErrName, len(s), limit)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s %s: %w: not UTF-8", what, quote(s), ErrName)
	}
	for _, r := range s {
		if unicode.IsControl(r) && !strings.ContainsRune(control, r) {
			return fmt.Errorf("%s %s: %w: control character %U", what, quote(s), ErrName, r)
		}
	}
	return nil
}

// quote makes a hostile string fit for a line of a log.
func quote(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%q...", s[:40])
	}
	return fmt.Sprintf("%q", s)
}

// Newest returns the release that module should move to from installed, if
// there is one: of the active files of exactly this module whose names are
// safe, the one of the highest version, and among equals the one that was
// released last, created last, has the highest id. It is returned when it is
// newer than installed or, with allowDowngrade, different: deactivating a bad
// release is then the operator's way back. An empty installed version is unknown
// and precedes every file.
func Newest(files []File, module string, installed Version, allowDowngrade bool) (best File, ok bool) {
	for _, f := range files {
		if f.Active && f.Module == module && (!ok || f.compare(best) > 0) && f.Check() == nil {
			best, ok = f, true
		}
	}
	if !ok {
		return File{}, false
	}
	if c := best.Version.Compare(installed); c > 0 || c < 0 && allowDowngrade {
		return best, true
	}
	return File{}, false
}

// compare orders files as Newest prefers them.
func (f File) compare(g File) int {
	return cmp.Or(
		f.Version.Compare(g.Version),
		f.Released.Compare(g.Released),
		f.Created.Compare(g.Created),
		Version(f.ID).Compare(Version(g.ID)), // ids are numbers, or at least hold some
		cmp.Compare(f.ID, g.ID),
		cmp.Compare(f.Version, g.Version),
		cmp.Compare(f.Notes, g.Notes),
	)
}
