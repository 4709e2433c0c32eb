package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// narrow is a pseudo-terminal of that many columns, and what reads all that
// was drawn on it and closes it.
func narrow(t *testing.T, columns uint16) (*os.File, func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return slave, func() string {
		slave.Close()
		var all strings.Builder
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			all.Write(b[:n])
			if err != nil { // EIO: the other end is closed
				return all.String()
			}
		}
	}
}

// transfer shows one of 100 bytes from its begin to its end.
func transfer(out *os.File) {
	b := (&Program{Err: out}).newBar("engine.log")
	for done := range int64(101) {
		b.set(done, 100)
	}
	b.end()
}

func TestABarFitsItsTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	for _, columns := range []uint16{80, 40, 30} {
		out, drawn := narrow(t, columns)
		transfer(out)
		text := drawn()
		if !strings.Contains(text, "100 %") && !strings.Contains(text, "100%") {
			t.Errorf("%d columns: %q", columns, text)
		}
		for _, frame := range strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' }) {
			if n := utf8.RuneCountInString(frame); n > int(columns) && strings.TrimSpace(frame) != "" {
				t.Errorf("%d columns: %q has %d", columns, frame, n)
			}
		}
	}
}

func TestABarIsLinesWhereNothingCanBeDrawn(t *testing.T) {
	lines := func(what, text string) {
		if strings.Count(text, "\n") != 11 || strings.Contains(text, "\x1b") || !strings.HasPrefix(text, "engine.log: 0 % of 100 B") {
			t.Errorf("%s: %q", what, text)
		}
	}
	t.Setenv("TERM", "dumb")
	out, drawn := narrow(t, 80)
	transfer(out)
	lines("a dumb terminal", drawn())
	t.Setenv("TERM", "xterm")
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	transfer(file)
	file.Close()
	b, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	lines("a file", string(b))
}
