package upload

import (
	"bytes"
	"errors"
	"io"
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
	for end := off + limit; end > off; {
		start := max(off, end-sampleSize)
		block, err := readBlock(f, start, end)
		if err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(block, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	for start := off + limit; start < size; start += sampleSize {
		block, err := readBlock(f, start, min(start+sampleSize, size))
		if err != nil {
			return 0, err
		}
		if i := bytes.IndexByte(block, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
	}
	return size, nil
}

func readBlock(f io.ReaderAt, start, end int64) ([]byte, error) {
	block := make([]byte, end-start)
	if _, err := f.ReadAt(block, start); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return block, nil
}
