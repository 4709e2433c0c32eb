// Package release reads and signs the line in a release's notes that says what
// its payload must be.
//
// The line is
//
//	ota1 sha256=HEX size=BYTES module=KEY version=VERSION counter=NUMBER sig=SIGNATURE
//
// All up to sig= is the statement. A signature is minisign's of the payload
// with the statement as its trusted comment, so that minisign(1) can make and
// check it (https://jedisct1.github.io/minisign/): sig= holds the second and the
// fourth line of the .minisig file, joined by a full stop. What minisign signs
// with the trusted comment binds the payload to its module, version, size and
// digest before a byte of it has been fetched.
package release

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Errors of lines and signatures.
var (
	ErrNoLine    = errors.New("the notes hold no ota1 line")
	ErrLine      = errors.New("malformed ota1 line")
	ErrOther     = errors.New("the ota1 line is another release's")
	ErrUnsigned  = errors.New("not signed")
	ErrKey       = errors.New("signed with a key that is not trusted here")
	ErrSignature = errors.New("the signature does not match")
)

const (
	prefix   = "ota1"
	maxLine  = 1024 // bytes
	maxLines = 32   // of one release's notes
	maxSize  = 1 << 50
)

// A Statement is what a line says of a payload.
type Statement struct {
	SHA256  string // 64 lower-case hexadecimal digits
	Size    int64  // bytes
	Module  string
	Version string
	Counter int64 // does not fall from one release of the module to the next; 0: none
}

// String is the statement as it is signed.
func (s Statement) String() string {
	text := fmt.Sprintf("%s sha256=%s size=%d module=%s version=%s", prefix, s.SHA256, s.Size, s.Module, s.Version)
	if s.Counter > 0 {
		text += " counter=" + strconv.FormatInt(s.Counter, 10)
	}
	return text
}

// Check refuses what a line cannot say. Its errors are ErrLine.
func (s Statement) Check() error {
	switch {
	case len(s.SHA256) != 64 || strings.Trim(s.SHA256, "0123456789abcdef") != "":
		return fmt.Errorf("%w: sha256 is not 64 lower-case hexadecimal digits", ErrLine)
	case s.Size < 1 || s.Size > maxSize:
		return fmt.Errorf("%w: size is %d, not 1 to 2^50", ErrLine, s.Size)
	case s.Counter < 0:
		return fmt.Errorf("%w: counter is %d", ErrLine, s.Counter)
	}
	if err := checkWord("module", s.Module, 64); err != nil {
		return err
	}
	return checkWord("version", s.Version, 128)
}

// checkWord wants one word that prints: no white space, nothing invisible.
func checkWord(what, s string, most int) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: %s is empty", ErrLine, what)
	case len(s) > most:
		return fmt.Errorf("%w: %s is %d bytes long, more than %d", ErrLine, what, len(s), most)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }):
		return fmt.Errorf("%w: %s %q is not one word", ErrLine, what, s)
	case strings.ContainsAny(s, "/\\`") || strings.Contains(s, ".."):
		return fmt.Errorf("%w: %s %q holds a slash, a back-tick or \"..\"", ErrLine, what, s)
	}
	return nil
}

// A Line is a statement with its signature, if it has one.
type Line struct {
	Statement
	Sig *Signature
}

// String is the line as it stands in the notes.
func (l Line) String() string {
	if l.Sig == nil {
		return l.Statement.String()
	}
	return l.Statement.String() + " sig=" + l.Sig.String()
}

// Parse reads a line. White space between its fields and their order do not
// matter; no field may be there twice, and none that is not known. Its errors
// are ErrLine.
func Parse(text string) (Line, error) {
	if len(text) > maxLine {
		return Line{}, fmt.Errorf("%w: %d bytes, more than %d", ErrLine, len(text), maxLine)
	}
	fields := strings.Fields(text)
	if len(fields) == 0 || fields[0] != prefix {
		return Line{}, fmt.Errorf("%w: it does not begin with %s", ErrLine, prefix)
	}
	var l Line
	seen := map[string]bool{}
	for _, field := range fields[1:] {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			return Line{}, fmt.Errorf("%w: %.40q is no key=value", ErrLine, field)
		}
		if seen[key] {
			return Line{}, fmt.Errorf("%w: %s is there twice", ErrLine, key)
		}
		seen[key] = true
		if err := l.set(key, value); err != nil {
			return Line{}, err
		}
	}
	return l, l.Check()
}

func (l *Line) set(key, value string) (err error) {
	switch key {
	case "sha256":
		l.SHA256 = value
	case "size":
		l.Size, err = count(key, value)
	case "module":
		l.Module = value
	case "version":
		l.Version = value
	case "counter":
		l.Counter, err = count(key, value)
	case "sig":
		l.Sig, err = parseSignature(value)
	default:
		err = fmt.Errorf("%w: there is no field %.40q", ErrLine, key)
	}
	return err
}

// count reads a number above 0, in the one way that it can be written.
func count(key, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != value {
		return 0, fmt.Errorf("%w: %s is %.40q, not a whole number above 0", ErrLine, key, value)
	}
	return n, nil
}

// Find returns the line for a release among the lines of its notes, which may
// hold those of other modules, too. What people put around it, as in Markdown,
// does not count. Its errors are ErrNoLine, ErrOther and ErrLine.
func Find(notes, module, version string) (Line, error) {
	var found []Line
	var bad, other error
	lines := 0
	for text := range strings.Lines(notes) {
		text = strings.Trim(text, " \t\r\n`>*-")
		if word, _, _ := strings.Cut(text, " "); word != prefix {
			continue
		}
		if lines++; lines > maxLines {
			return Line{}, fmt.Errorf("%w: the notes hold more than %d of them", ErrLine, maxLines)
		}
		l, err := Parse(text)
		switch {
		case err != nil:
			bad = err
		case l.Module != module:
			other = fmt.Errorf("%w: it is for module %s, not %s", ErrOther, l.Module, module)
		case l.Version != version:
			other = fmt.Errorf("%w: it is for version %s, not %s", ErrOther, l.Version, version)
		default:
			found = append(found, l)
		}
	}
	switch {
	case len(found) > 1:
		return Line{}, fmt.Errorf("%w: the notes hold two of them for %s %s", ErrLine, module, version)
	case len(found) == 1:
		return found[0], nil
	case bad != nil:
		return Line{}, bad
	case other != nil:
		return Line{}, other
	}
	return Line{}, ErrNoLine
}
