package conf

import (
	"errors"
	"strings"
)

// splitWords reads words as a shell would, and runs none: 'as it is', "with \"
// and \\", and \c outside quotes. Characters of also separate words like spaces
// do. A word that begins with # or ; starts a comment.
func splitWords(s, also string) (words []string, err error) {
	l := lexer{rest: s, also: also}
	for {
		w, more, err := l.next()
		if err != nil || !more {
			return words, err
		}
		words = append(words, w)
	}
}

type lexer struct {
	rest string
	also string // separators beside white space
}

func (l *lexer) separator(c byte) bool {
	return c == ' ' || c == '\t' || strings.IndexByte(l.also, c) >= 0
}

// next reads one word. more is false at the end and at a comment.
func (l *lexer) next() (word string, more bool, err error) {
	for l.rest != "" && l.separator(l.rest[0]) {
		l.rest = l.rest[1:]
	}
	if l.rest == "" || l.rest[0] == '#' || l.rest[0] == ';' {
		return "", false, nil
	}
	var b strings.Builder
	for l.rest != "" && !l.separator(l.rest[0]) {
		c := l.rest[0]
		l.rest = l.rest[1:]
		switch c {
		case '\'':
			err = l.quoted(&b, c, "")
		case '"':
			err = l.quoted(&b, c, `"\`)
		case '\\':
			if l.rest == "" {
				return "", false, errors.New("ends in a backslash")
			}
			b.WriteByte(l.rest[0])
			l.rest = l.rest[1:]
		default:
			b.WriteByte(c)
		}
		if err != nil {
			return "", false, err
		}
	}
	return b.String(), true, nil
}

// quoted reads up to the closing quote. A backslash counts only before one of
// escapable.
func (l *lexer) quoted(b *strings.Builder, quote byte, escapable string) error {
	for i := 0; i < len(l.rest); i++ {
		c := l.rest[i]
		switch {
		case c == quote:
			l.rest = l.rest[i+1:]
			return nil
		case c == '\\' && i+1 < len(l.rest) && strings.IndexByte(escapable, l.rest[i+1]) >= 0:
			i++
			b.WriteByte(l.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return errors.New("has a quote that is not closed")
}

// joinWords writes words so that splitWords reads them back.
func joinWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsAny(w, " \t,'\"\\#;`") {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
