package capture

import (
	"bufio"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// maxEntry bounds one entry of an excerpt, in bytes.
const maxEntry = 8 << 10

// A writer writes an excerpt.
type writer struct {
	r     *Recorder
	path  string
	file  atomicfile.File
	buf   *bufio.Writer
	room  int64
	size  int64
	wrote error
}

func newWriter(r *Recorder, path string, room int64) (*writer, error) {
	_ = r.FS.Remove(path) // one that was never known
	f, err := r.FS.Create(path, 0o600)
	if err != nil {
		return nil, err
	}
	return &writer{r: r, path: path, file: f, buf: bufio.NewWriterSize(f, 32<<10), room: room}, nil
}

// entry writes one entry, and reports false, with nothing written, when there
// is no room for it.
func (w *writer) entry(text string) bool {
	text = cut(w.r.Redact(clean(text)), maxEntry-1) + "\n"
	if w.size+int64(len(text)) > w.room || w.wrote != nil {
		return false
	}
	w.size += int64(len(text))
	_, w.wrote = w.buf.WriteString(text)
	return true
}

// close makes the excerpt durable, or removes it where it is empty or failed,
// and returns its size.
func (w *writer) close() (int64, error) {
	err := w.wrote
	if err == nil {
		err = w.buf.Flush()
	}
	if err == nil && w.size > 0 {
		err = w.file.Sync()
	}
	if cerr := w.file.Close(); err == nil {
		err = cerr
	}
	if err == nil && w.size > 0 {
		err = w.r.FS.SyncDir(filepath.Dir(w.path))
	}
	if err != nil || w.size == 0 {
		_ = w.r.FS.Remove(w.path)
		return 0, err
	}
	return w.size, nil
}

// clean is text that a terminal shows as it is. Its further lines are indented,
// so that none can be taken for an entry.
func clean(text string) string {
	text = strings.ToValidUTF8(strings.TrimRight(text, "\n"), "?")
	return strings.NewReplacer("\n", "\n    ").Replace(strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return '?'
		}
		return c
	}, text))
}

// cut is s shortened to at most n bytes, between two characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const more = " ..."
	n -= len(more)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
