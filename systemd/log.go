package systemd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"
)

// maxRecord bounds one line of the log, in bytes. The journal splits longer
// ones (LineMax= in journald.conf(5) is 48 KiB), and none of ours is worth so
// much flash.
const maxRecord = 4 << 10

// NewLogger returns a logger that writes to w as its reader wants it: for the
// journal a priority and no time, for a person at a terminal a short time and
// colour, else all as text. It keeps to level, which may change, writes each
// record as one line of at most 4 KiB, and lets no token pass.
func NewLogger(w *os.File, level *slog.LevelVar) *slog.Logger {
	form := plain
	switch {
	case isJournal(w, os.Getenv("JOURNAL_STREAM")):
		form = journal
	case term.IsTerminal(int(w.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb":
		form = colour
	case term.IsTerminal(int(w.Fd())):
		form = terminal
	}
	return slog.New(newHandler(w, level, form))
}

// NewHandler returns a handler whose records are such lines of text for any
// reader, one Write each.
func NewHandler(w io.Writer, level slog.Leveler) slog.Handler { return newHandler(w, level, plain) }

// isJournal reports whether w is the stream that JOURNAL_STREAM names as
// DEVICE:INODE (systemd.exec(5)). Asking the variable alone would be wrong in
// a shell that was started from a service.
func isJournal(w *os.File, stream string) bool {
	info, err := w.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", uint64(st.Dev), st.Ino)
}

// A form is how a line of the log looks.
type form int

const (
	plain    form = iota // time=2006-01-02T15:04:05Z level=INFO msg=message key=value
	journal              // <6>message key=value
	terminal             // 15:04:05 INFO  message key=value
	colour               // the same with colours
)

// A handler puts the beginning of a line together and leaves the attributes to
// a slog.TextHandler, which writes into the same buffer.
type handler struct {
	out   *output
	attrs slog.Handler
}

type output struct {
	mu   sync.Mutex
	w    io.Writer
	form form
	line bytes.Buffer // the record being written
}

func newHandler(w io.Writer, level slog.Leveler, f form) handler {
	out := &output{w: w, form: f}
	return handler{out, slog.NewTextHandler(&out.line, &slog.HandlerOptions{Level: level, ReplaceAttr: out.replace})}
}

func (h handler) Enabled(ctx context.Context, l slog.Level) bool { return h.attrs.Enabled(ctx, l) }

func (h handler) WithAttrs(as []slog.Attr) slog.Handler { return handler{h.out, h.attrs.WithAttrs(as)} }

func (h handler) WithGroup(name string) slog.Handler { return handler{h.out, h.attrs.WithGroup(name)} }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	b := &h.out.line
	b.Reset()
	if h.out.form != plain {
		b.WriteString(opening(h.out.form, r))
		r.Time, r.Message = time.Time{}, ""
	}
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	line := redact(strings.TrimRight(b.String(), " \n"))
	_, err := io.WriteString(h.out.w, cut(line, maxRecord-1)+"\n")
	return err
}

// replace drops what opening has written already, and hides secrets.
func (o *output) replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		_, isLevel := a.Value.Any().(slog.Level)
		switch {
		case o.form != plain && a.Key == slog.LevelKey && isLevel,
			o.form != plain && a.Key == slog.MessageKey && a.Value.Kind() == slog.KindString && a.Value.String() == "":
			return slog.Attr{}
		case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
			return slog.String(a.Key, a.Value.Time().UTC().Format(time.RFC3339))
		}
	}
	return redactAttr(groups, a)
}

// opening is the line up to and with the message, and a blank.
func opening(f form, r slog.Record) string {
	msg := r.Message
	if strings.ContainsFunc(msg, func(c rune) bool { return !strconv.IsPrint(c) }) {
		msg = strconv.Quote(msg)
	}
	if f == journal {
		return fmt.Sprintf("<%d>%s ", priority(r.Level), msg)
	}
	level := fmt.Sprintf("%-5s", r.Level)
	if f == colour {
		level = tint(r.Level) + level + "\x1b[0m"
	}
	return r.Time.Format(time.TimeOnly) + " " + level + " " + msg + " "
}

// priority is the syslog level that sd-daemon(3) wants in front of a line.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

func tint(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "\x1b[31m"
	case l >= slog.LevelWarn:
		return "\x1b[33m"
	case l >= slog.LevelInfo:
		return "\x1b[32m"
	}
	return "\x1b[2m"
}
