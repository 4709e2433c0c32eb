package upload

import (
	"bytes"
	"errors"
	"io"

	"github.com/spoke-zone/spoke-zone-agent/agent/lineend"
)

// What the service's types hold on a Linux device is documented nowhere, and
// the "log" of the vendor's own logger is binary records. So it is not the type
// that says whether a file is made of lines, but its beginning.

// sampleSize is how much of a file is looked at, in bytes.
const sampleSize = 4 << 10

// lined reports whether f begins like a file of lines: no control characters
// but those of a terminal. Any encoding that has ASCII's will do.
func lined(f io.ReaderAt) (bool, error) {
	sample := make([]byte, sampleSize)
	n, err := f.ReadAt(sample, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return !bytes.ContainsFunc(sample[:n], func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' && r != '\b' && r != '\x1b'
	}), nil
}

// cut returns where the part of f ends that begins at off: after the last line
// end within limit bytes, at the next one if a single line is longer, and at
// size, the end of the file, if there is none.
func cut(f io.ReaderAt, off, size, limit int64) (int64, error) {
	if size-off <= limit {
		return size, nil
	}
	if end, ok, err := lineend.Last(f, off, off+limit); ok || err != nil {
		return end, err
	}
	if end, ok, err := lineend.Next(f, off+limit, size); ok || err != nil {
		return end, err
	}
	return size, nil
}
