// Package lineend finds where lines end in files too large to be read at once.
package lineend

import (
	"bytes"
	"errors"
	"io"
)

// block is how much is read at a time, in bytes.
const block = 4 << 10

// Last returns where the last line ends that ends in f between from and to,
// and false if none does.
func Last(f io.ReaderAt, from, to int64) (int64, bool, error) {
	for end := to; end > from; {
		start := max(from, end-block)
		b, err := read(f, start, end)
		if err != nil {
			return 0, false, err
		}
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			return start + int64(i) + 1, true, nil
		}
		end = start
	}
	return 0, false, nil
}

// Next returns where the first line ends that ends in f between from and to,
// and false if none does.
func Next(f io.ReaderAt, from, to int64) (int64, bool, error) {
	for start := from; start < to; start += block {
		b, err := read(f, start, min(start+block, to))
		if err != nil {
			return 0, false, err
		}
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return start + int64(i) + 1, true, nil
		}
	}
	return 0, false, nil
}

// read returns the bytes between start and end; zeros stand for what f does not
// have.
func read(f io.ReaderAt, start, end int64) ([]byte, error) {
	b := make([]byte, end-start)
	if _, err := f.ReadAt(b, start); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}
