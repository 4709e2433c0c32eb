package capture

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is read of the journal.
const (
	maxField  = 16 << 10 // bytes that are kept of a field
	maxFields = 256      // of an entry
	maxBinary = 1 << 30  // bytes of a field that is skipped
)

var errExport = errors.New("journalctl answers with what is no export of a journal")

// An entry is one of the journal.
type entry map[string]string

// An exportReader reads the journal's export format
// (systemd.io/JOURNAL_EXPORT_FORMATS).
type exportReader struct{ in *bufio.Reader }

func newExportReader(in io.Reader) *exportReader {
	return &exportReader{bufio.NewReaderSize(in, maxField+64)}
}

// next returns the next entry, or io.EOF; an entry without its end is none.
func (x *exportReader) next() (entry, error) {
	e := entry{}
	for {
		line, whole, err := x.line()
		switch {
		case err != nil:
			return nil, err
		case len(line) == 0 && len(e) > 0:
			return e, nil
		case len(line) == 0:
			continue
		case len(e) >= maxFields:
			return nil, fmt.Errorf("%w: an entry of more than %d fields", errExport, maxFields)
		}
		name, value, text := bytes.Cut(line, []byte("="))
		if !text && !whole {
			return nil, errExport
		}
		key := string(name)
		if text {
			e.put(key, string(value))
			continue
		}
		data, err := x.binary()
		if err != nil {
			return nil, err
		}
		e.put(key, data)
	}
}

// put keeps the first value of a field.
func (e entry) put(key, value string) {
	if _, ok := e[key]; !ok {
		e[key] = value
	}
}

// line reads one line and keeps the beginning of a longer one.
func (x *exportReader) line() (kept []byte, whole bool, err error) {
	line, err := x.in.ReadSlice('\n')
	if err == nil {
		return bytes.Clone(line[:len(line)-1]), true, nil
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return nil, false, err
	}
	kept = bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = x.in.ReadSlice('\n')
	}
	return kept, false, err
}

// binary reads the value of a field whose name has a line of its own.
func (x *exportReader) binary() (string, error) {
	var size [8]byte
	if _, err := io.ReadFull(x.in, size[:]); err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint64(size[:])
	if n > maxBinary {
		return "", fmt.Errorf("%w: a field of %d bytes", errExport, n)
	}
	data := make([]byte, min(n, maxField))
	if _, err := io.ReadFull(x.in, data); err != nil {
		return "", err
	}
	if _, err := io.CopyN(io.Discard, x.in, int64(n)-int64(len(data))); err != nil {
		return "", err
	}
	if end, err := x.in.ReadByte(); err != nil {
		return "", err
	} else if end != '\n' {
		return "", errExport
	}
	return string(data), nil
}

// micros is the first of the fields that is a number of microseconds.
func (e entry) micros(keys ...string) (int64, bool) {
	for _, k := range keys {
		if n, err := strconv.ParseInt(e[k], 10, 64); err == nil && n >= 0 {
			return n, true
		}
	}
	return 0, false
}

// at is when the entry came.
func (e entry) at() time.Time {
	n, _ := e.micros("__REALTIME_TIMESTAMP")
	return time.UnixMicro(n).UTC()
}

// cursor is that of the entry, "" if it is none that can be handed back.
func (e entry) cursor() string {
	c := e["__CURSOR"]
	if len(c) > 1<<10 || strings.ContainsFunc(c, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return c
}

// who is the program that the entry is of.
func (e entry) who() string {
	return cmp.Or(e["SYSLOG_IDENTIFIER"], e["_COMM"], "unknown")
}

// line is the entry as journalctl -o short-iso-precise shows it, in UTC.
func (e entry) line() string {
	who := e.who()
	pid := e["_PID"]
	if pid == "" {
		pid = e["SYSLOG_PID"]
	}
	if pid != "" {
		who += "[" + pid + "]"
	}
	return e.at().Format("2006-01-02T15:04:05.000000Z") + " " + e["_HOSTNAME"] + " " + who + ": " + e["MESSAGE"]
}

// kernelLine is the entry as dmesg(1) shows it.
func (e entry) kernelLine() string {
	n, _ := e.micros("_SOURCE_MONOTONIC_TIMESTAMP", "__MONOTONIC_TIMESTAMP")
	return kernelLine(n, e["MESSAGE"])
}

func kernelLine(micros int64, text string) string {
	return fmt.Sprintf("[%5d.%06d] %s", micros/1e6, micros%1e6, text)
}
