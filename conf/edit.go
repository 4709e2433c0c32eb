package conf

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/ini.v1"
)

var (
	// ErrToken means that a token cannot stand in an INI file as it is.
	ErrToken = errors.New("token cannot be written")

	// ErrEdit means that an edit would change more than the token. Nothing was
	// written.
	ErrEdit = errors.New("file cannot be edited safely")

	// ErrSyntax means that ini.v1 and this package do not read a file alike.
	ErrSyntax = errors.New("file can be read in two ways")
)

// maxToken is the longest user name that MQTT carries.
const maxToken = 65535

// checkToken admits what RFC 6750 section 2.1 does: readers of INI files differ
// about nearly every other character.
func checkToken(token string) error {
	body := strings.TrimRight(token, "=")
	switch {
	case token == "" || body == "":
		return fmt.Errorf("%w: it is empty", ErrToken)
	case len(token) > maxToken:
		return fmt.Errorf("%w: it is %d bytes long", ErrToken, len(token))
	}
	for i := range len(body) {
		c := body[i]
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~+/", c) >= 0) {
			return fmt.Errorf("%w: byte %d is %q", ErrToken, i+1, c)
		}
	}
	return nil
}

// Token returns the value of mqtt_username that is in use, as ReadIdentity
// chooses it, and its errors.
func (d *Document) Token() (string, error) {
	lines, _, err := d.tokenLines()
	if err != nil {
		return "", err
	}
	return d.lines[lines[0]].token(), nil
}

// SetToken makes token the value of mqtt_username, wherever the one in use
// stands, and leaves every other byte as it is. changed is false when it stands
// there already. Before it is done the result is read afresh, by ini.v1 too:
// if anything but the token would be read differently, d stays as it is and the
// error is ErrEdit. The others are ErrToken and those of ReadIdentity.
func (d *Document) SetToken(token string) (changed bool, err error) {
	if err := checkToken(token); err != nil {
		return false, err
	}
	lines, _, err := d.tokenLines()
	if err != nil && !errors.Is(err, ErrEmptyToken) {
		return false, err
	}
	if d.lines[lines[0]].token() == token {
		return false, nil
	}
	after := &Document{bom: d.bom, lines: slices.Clone(d.lines)}
	for _, i := range lines {
		after.lines[i].set(token)
	}
	if after, err = d.onlyTokenChanged(after.Bytes(), lines, token); err != nil {
		return false, err
	}
	*d = *after
	return true, nil
}

// onlyTokenChanged reads result afresh and compares it with d, both by our own
// reading and by that of ini.v1.
func (d *Document) onlyTokenChanged(result []byte, lines []int, token string) (*Document, error) {
	if len(result) > maxFile {
		return nil, fmt.Errorf("%w: %d bytes with the new token, more than %d", ErrTooLarge, len(result), maxFile)
	}
	after, err := parseText(result)
	if err != nil {
		return nil, fmt.Errorf("%w: after the edit: %w", ErrEdit, err)
	}
	if len(after.lines) != len(d.lines) {
		return nil, fmt.Errorf("%w: it would have %d lines instead of %d", ErrEdit, len(after.lines), len(d.lines))
	}
	if used, err := after.Token(); err != nil || used != token {
		return nil, fmt.Errorf("%w: another value of mqtt_username would be used", ErrEdit)
	}
	edited := map[iniKey]bool{}
	for _, i := range lines {
		if after.lines[i].value() != token {
			return nil, fmt.Errorf("%w: line %d would be read differently", ErrEdit, i+1)
		}
		edited[d.lines[i].iniKey()] = true
	}
	was, err := d.iniValues()
	if err != nil {
		return nil, err
	}
	is, err := after.iniValues()
	if err != nil {
		return nil, err
	}
	if len(is) != len(was) {
		return nil, fmt.Errorf("%w: it would have %d keys instead of %d", ErrEdit, len(is), len(was))
	}
	for k, v := range was {
		if now, ok := is[k]; !ok || now != v && !edited[k] {
			return nil, fmt.Errorf("%w: %s would change", ErrEdit, k)
		}
	}
	return after, nil
}

// An iniKey names a value to ini.v1, which keeps the last of several.
type iniKey struct{ section, key string }

func (k iniKey) String() string { return "[" + k.section + "] " + k.key }

func (l line) iniKey() iniKey {
	section := l.section
	if section == "" {
		section = ini.DefaultSection
	}
	return iniKey{section, l.key}
}

// agree compares our reading with that of ini.v1.
func (d *Document) agree() error {
	theirs, err := d.iniValues()
	if err != nil {
		return err
	}
	ours := map[iniKey]int{}
	for i, l := range d.lines {
		if l.kind == entry && l.key != "-" && l.key[0] != '#' { // ini.v1 numbers keys called -
			ours[l.iniKey()] = i
		}
	}
	for k, i := range ours {
		if v, ok := theirs[k]; !ok || v != d.lines[i].raw() {
			return fmt.Errorf("%w: line %d", ErrSyntax, i+1)
		}
	}
	return nil
}

// iniValues reads the document with ini.v1, in the options that leave values
// as they are. Lines that are junk are not shown to it: some make it swallow
// those that follow, or give up.
func (d *Document) iniValues() (map[iniKey]string, error) {
	b := bytes.NewBufferString("\n") // so that nothing is at its start that it takes for a byte order mark
	for _, l := range d.lines {
		switch l.kind {
		case header:
			fmt.Fprintf(b, "[%s]\n", l.section)
		case entry:
			b.Write(l.text)
		}
	}
	file, err := ini.LoadSources(ini.LoadOptions{
		IgnoreInlineComment:     true,
		IgnoreContinuation:      true,
		PreserveSurroundedQuote: true,
		KeyValueDelimiters:      delimiters,
	}, b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	values := map[iniKey]string{}
	for _, s := range file.Sections() {
		for _, k := range s.Keys() {
			values[iniKey{s.Name(), k.Name()}] = k.Value()
		}
	}
	return values, nil
}
