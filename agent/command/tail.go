package command

import (
	"fmt"
	"strings"
)

// maxOutput is how much of a program's output is kept for the log, in bytes.
const maxOutput = 2 << 10

// A tail keeps the end of what is written to it.
type tail struct {
	data []byte
	all  int64
}

func (t *tail) Write(b []byte) (int, error) {
	t.all += int64(len(b))
	if over := len(b) - maxOutput; over >= 0 {
		t.data = append(t.data[:0], b[over:]...)
		return len(b), nil
	}
	if over := len(t.data) + len(b) - maxOutput; over > 0 {
		t.data = t.data[:copy(t.data, t.data[over:])]
	}
	t.data = append(t.data, b...)
	return len(b), nil
}

// String is the output for the log, with what is missing at its front.
func (t *tail) String() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.data), "?"))
	if cut := t.all - int64(len(t.data)); cut > 0 {
		return fmt.Sprintf("(%d bytes before) %s", cut, text)
	}
	return text
}
