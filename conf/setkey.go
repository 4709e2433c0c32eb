package conf

import (
	"bytes"
	"fmt"
	"slices"
)

// SetKey returns the text of an INI file with the key of the section set to
// value, and every other byte as it was. A key that is not there is added at the
// end of its section, and a section at the end of the file; an empty section
// stands for what is before any. value is a token as checkToken admits it. The
// errors are ErrToken, ErrSyntax, ErrTooLarge, and ErrEdit where another value
// would change.
func SetKey(src []byte, section, key, value string) ([]byte, error) {
	if err := checkToken(value); err != nil {
		return nil, err
	}
	d := ParseDocument(src)
	if err := d.agree(); err != nil {
		return nil, err
	}
	after := &Document{bom: d.bom, lines: slices.Clone(d.lines)}
	found := false
	for i, l := range after.lines {
		if l.kind == entry && l.section == section && l.key == key {
			after.lines[i].set(value)
			found = true
		}
	}
	if !found {
		after.add(section, key+" = "+value)
	}
	text := after.Bytes()
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: %d bytes with the new value, more than %d", ErrTooLarge, len(text), maxFile)
	}
	return text, d.onlyKeyChanged(text, line{section: section, key: key}.iniKey(), value)
}

// add puts a line behind the last one of its section that says something.
func (d *Document) add(section, text string) {
	end := "\n"
	if len(d.lines) > 0 && bytes.HasSuffix(d.lines[0].text, []byte("\r\n")) {
		end = "\r\n"
	}
	at, there := 0, section == ""
	for i, l := range d.lines {
		if l.section == section && l.kind != blank {
			at, there = i+1, true
		}
	}
	if !there {
		at, text = len(d.lines), "["+section+"]"+end+text
	}
	if at > 0 && !bytes.HasSuffix(d.lines[at-1].text, []byte("\n")) {
		last := d.lines[at-1]
		last.text = append(bytes.Clone(last.text), end...)
		d.lines[at-1] = last
	}
	d.lines = slices.Insert(d.lines, at, line{text: []byte(text + end)})
}

// onlyKeyChanged reads text afresh and compares it with d by ini.v1's reading.
func (d *Document) onlyKeyChanged(text []byte, key iniKey, value string) error {
	after := ParseDocument(text)
	if err := after.agree(); err != nil {
		return fmt.Errorf("%w: after the edit: %w", ErrEdit, err)
	}
	was, err := d.iniValues()
	if err != nil {
		return err
	}
	is, err := after.iniValues()
	if err != nil {
		return err
	}
	for k, v := range was {
		if now, ok := is[k]; k != key && (!ok || now != v) {
			return fmt.Errorf("%w: %s would change", ErrEdit, k)
		}
	}
	for k := range is {
		if _, ok := was[k]; k != key && !ok {
			return fmt.Errorf("%w: %s would appear", ErrEdit, k)
		}
	}
	used := ""
	for _, l := range after.lines { // the last counts
		if l.kind == entry && l.iniKey() == key {
			used = l.value()
		}
	}
	if used != value {
		return fmt.Errorf("%w: %s would be read differently", ErrEdit, key)
	}
	return nil
}
