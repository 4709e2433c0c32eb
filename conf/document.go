package conf

import (
	"bytes"
	"strings"
	"unicode"
)

// A Document is the text of an INI file, line by line. Editing it changes the
// bytes of one value: comments, blank lines, spacing, quotes, order, line ends
// and the byte order mark stay as their author left them.
type Document struct {
	bom   []byte
	lines []line
}

type lineKind uint8

const (
	blank  lineKind = iota // or a comment
	header                 // [section]
	entry                  // key = value
	junk                   // no INI reader knows what to do with it
)

// A line is one line of text and what was understood of it.
type line struct {
	text    []byte // with its line end
	kind    lineKind
	section string // in force; of a header, the one it begins
	key     string

	// The value as INI readers take it that know no comments behind values:
	// text[start:end], with its quotes.
	start, end int
	verbatim   bool // in back-ticks or triple quotes, which are outside of it
}

const delimiters = "=:"

var utf8BOM = []byte("\xef\xbb\xbf")

// ParseDocument reads src. There is nothing that it refuses: a line that it
// does not understand stays where it is.
func ParseDocument(src []byte) *Document {
	d := &Document{}
	src = bytes.Clone(src)
	if bytes.HasPrefix(src, utf8BOM) {
		d.bom, src = src[:len(utf8BOM)], src[len(utf8BOM):]
	}
	section := ""
	for text := range bytes.Lines(src) {
		l := readLine(text)
		if l.kind != header {
			l.section = section
		}
		section = l.section
		d.lines = append(d.lines, l)
	}
	return d
}

// Bytes returns the text.
func (d *Document) Bytes() []byte {
	b := bytes.Clone(d.bom)
	for _, l := range d.lines {
		b = append(b, l.text...)
	}
	return b
}

func readLine(text []byte) line {
	l := line{text: text}
	body := bytes.TrimLeftFunc(text, unicode.IsSpace)
	switch {
	case len(body) == 0 || body[0] == '#' || body[0] == ';':
		return l
	case body[0] == '[':
		l.kind = junk
		if end := bytes.IndexByte(body, ']'); end > 0 {
			if name := bytes.TrimSpace(body[1:end]); len(name) > 0 {
				l.kind, l.section = header, string(name)
			}
		}
		return l
	}
	key, offset, ok := readKey(string(body))
	if !ok {
		l.kind = junk
		return l
	}
	l.kind, l.key = entry, key
	l.readValue(len(text) - len(body) + offset)
	return l
}

// readKey returns the key at the start of s and the offset behind its
// delimiter, as ini.v1 finds them.
func readKey(s string) (key string, offset int, ok bool) {
	quote := ""
	switch {
	case len(s) > 6 && strings.HasPrefix(s, `"""`):
		quote = `"""`
	case s[0] == '"' || s[0] == '`':
		quote = s[:1]
	}
	rest := s[len(quote):]
	if quote != "" {
		if key, rest, ok = strings.Cut(rest, quote); !ok {
			return "", 0, false
		}
	}
	i := strings.IndexAny(rest, delimiters)
	if i < 0 {
		return "", 0, false
	}
	if quote == "" {
		key = rest[:i]
	}
	key = strings.TrimSpace(key)
	return key, len(s) - len(rest) + i + 1, key != ""
}

// readValue finds the value behind the delimiter that ends at from. Back-ticks
// and triple quotes that do not close on their line would make ini.v1 swallow
// the lines that follow: such a line is junk, and they are not.
func (l *line) readValue(from int) {
	behind := l.text[from:]
	body := bytes.TrimLeftFunc(behind, unicode.IsSpace)
	if len(body) == 0 {
		l.start, l.end = from, from
		return
	}
	l.start = from + len(behind) - len(body)
	for _, quote := range []string{`"""`, "`"} {
		if !bytes.HasPrefix(body, []byte(quote)) {
			continue
		}
		n := bytes.LastIndex(body[len(quote):], []byte(quote))
		if n < 0 {
			l.kind = junk
			return
		}
		l.start += len(quote)
		l.end, l.verbatim = l.start+n, true
		return
	}
	l.end = l.start + len(bytes.TrimSpace(body))
}

// raw is the value with its quotes and with what may be a comment.
func (l line) raw() string { return string(l.text[l.start:l.end]) }

// value is the value itself: without quotes around it, and without a comment
// that begins with a # or a ; behind white space.
func (l line) value() string {
	start, end := l.span()
	return string(l.text[start:end])
}

// span says where in text the value is.
func (l line) span() (start, end int) {
	v := l.text[l.start:l.end]
	if l.verbatim || len(v) == 0 {
		return l.start, l.end
	}
	if q := v[0]; q == '"' || q == '\'' {
		if n := bytes.IndexByte(v[1:], q); n >= 0 && endsValue(v[n+2:]) {
			return l.start + 1, l.start + 1 + n
		}
	}
	for i, c := range v {
		if (c == '#' || c == ';') && isSpace(l.text[l.start+i-1]) {
			return l.start, l.start + len(bytes.TrimSpace(v[:i]))
		}
	}
	return l.start, l.end
}

// endsValue reports whether nothing but a comment is in s.
func endsValue(s []byte) bool {
	t := bytes.TrimSpace(s)
	return len(t) == 0 || isSpace(s[0]) && (t[0] == '#' || t[0] == ';')
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// set gives the line a value.
func (l *line) set(value string) {
	start, end := l.span()
	if start == end && !l.verbatim && !l.quoted(start) {
		start = l.vacant()
		end = start
	}
	text := bytes.Join([][]byte{l.text[:start], []byte(value), l.text[end:]}, nil)
	section := l.section
	*l = readLine(text)
	l.section = section
}

func (l line) quoted(at int) bool {
	c := l.text[at-1]
	return at > l.start && (c == '"' || c == '\'')
}

// vacant is where a value goes that was empty: behind the delimiter and one
// space, with another left before a comment.
func (l line) vacant() int {
	at := l.delimiter() + 1
	if at < len(l.text) && isSpace(l.text[at]) {
		if next := at + 1; next == len(l.text) || l.text[next] != '#' && l.text[next] != ';' {
			at = next
		}
	}
	return at
}

// delimiter is the last one before an empty value.
func (l line) delimiter() int {
	return bytes.LastIndexAny(l.text[:l.start], delimiters)
}
