package collect

import (
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/lineend"
)

// cut returns where the next data file of f ends, not more than limit bytes
// from its position if a line ends there; 0 if there is no whole line yet.
func (f *file) cut(h io.ReaderAt, limit int64) (int64, error) {
	to := min(f.Pos+limit, f.Size)
	end, ok, err := lineend.Last(h, f.Pos, to)
	if !ok && err == nil {
		end, ok, err = lineend.Next(h, to, min(f.Size, f.Pos+maxLine))
	}
	switch {
	case err != nil:
		return 0, err
	case ok:
		return end, nil
	case f.Size-f.Pos >= maxLine:
		return f.Pos + maxLine, nil
	case f.over:
		return f.Size, nil
	}
	return 0, nil
}

// log is what the data files of f are called after: the same for a log and for
// the rotations of it that a pattern matches.
func (f *file) log() string {
	return path.Join(path.Dir(f.Path), dataName(path.Base(f.Path), 0))
}

// dataName is the name of the n-th data file, of a file called base: in the
// order of their names they are in the order of their lines.
func dataName(base string, n uint64) string {
	if i := strings.IndexFunc(base, func(r rune) bool { return r == '.' || r == '-' }); i > 0 {
		for ; i < len(base); i++ {
			if counted(base[i:]) {
				base = base[:i] // app.log.1 is a part of app.log
				break
			}
		}
	}
	ext := path.Ext(base)
	if ext == base {
		ext = ""
	}
	return fmt.Sprintf("%s.%010d%s", base[:len(base)-len(ext)], n, ext)
}

// exactly is a reader of n bytes, neither more nor less.
type exactly struct {
	r io.Reader
	n int64
}

func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.n -= int64(n); err == io.EOF && e.n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Len is how many bytes are left to be read.
func (e *exactly) Len() int { return int(e.n) }
