package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/redact"
)

// Why the journal is not read.
var (
	errNoJournalctl = errors.New("journalctl is not there")
	errNoJournal    = errors.New("there is no journal")
	errDenied       = errors.New("not allowed to read the journal: the daemon's user must be root or in the group systemd-journal")
	errCursor       = errors.New("the journal does not know the place where the last excerpt ended: the next one begins at that time")
)

// patience bounds one run of journalctl.
const patience = time.Minute

// fields are what is read of an entry, beside those that are always there.
const fields = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_COMM,_PID,_HOSTNAME,_BOOT_ID,_SOURCE_MONOTONIC_TIMESTAMP"

// argv are the arguments of journalctl for what comes after m, the entry at m
// included.
func (r *Recorder) argv(m mark, kernel bool) []string {
	args := []string{"--no-pager", "--output=export", "--output-fields=" + fields}
	switch {
	case m.Cursor != "":
		// Not --after-cursor: where the journal has lost that entry, it passes over the one in its place.
		args = append(args, "--cursor="+m.Cursor)
	case kernel:
		args = append(args, "--boot")
	default:
		args = append(args, fmt.Sprintf("--since=@%d.%06d", m.Since.Unix(), m.Since.Nanosecond()/1000))
	}
	if kernel {
		return append(args, "_TRANSPORT=kernel")
	}
	for _, u := range r.Units {
		args = append(args, "--unit="+u)
	}
	return args
}

// readJournal writes the entries after m to w, and returns where to go on and
// whether there was more than room.
func (r *Recorder) readJournal(ctx context.Context, m mark, kernel bool, w *writer) (next mark, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var said head
	out, wait, err := r.run(ctx, r.argv(m, kernel), &said)
	if err != nil {
		return m, false, err
	}
	next, more, err = copyEntries(out, m, kernel, w)
	late := ctx.Err()
	if more || err != nil {
		cancel() // it has more to say than we want to hear
	}
	ended := wait()
	switch {
	case more:
		return next, true, nil
	case err != nil:
		return next, false, err
	case late != nil:
		return next, false, fmt.Errorf("journalctl has not ended within %v", patience)
	}
	return next, false, complaint(ended, said.String())
}

// runJournalctl runs it until ctx is done. wait is called once what is wanted
// of out has been read.
func (r *Recorder) runJournalctl(ctx context.Context, args []string, said io.Writer) (out io.Reader, wait func() error, err error) {
	path, err := exec.LookPath(r.journalctl)
	if err != nil {
		return nil, nil, errNoJournalctl
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"LANG=C", "LC_ALL=C", "SYSTEMD_COLORS=0", "PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	cmd.Stderr = said
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	if out, err = cmd.StdoutPipe(); err != nil {
		return nil, nil, err
	}
	return out, cmd.Wait, cmd.Start()
}

// copyEntries writes the entries of an export to w.
func copyEntries(in io.Reader, m mark, kernel bool, w *writer) (next mark, more bool, err error) {
	x := newExportReader(in)
	from := m.Cursor
	for {
		e, err := x.next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return m, false, nil // journalctl's status says whether that was its end
		}
		if err != nil {
			return m, false, err
		}
		cursor := e.cursor()
		if cursor == "" {
			return m, false, errExport
		}
		if cursor == from {
			continue // it has been copied
		}
		source := e.who()
		if kernel {
			source = ""
		}
		var keys redact.Keys
		e["MESSAGE"], keys = m.Keys.Hide(source, e["MESSAGE"])
		line := e.line()
		if kernel {
			line = e.kernelLine()
		}
		if boot := e["_BOOT_ID"]; boot != "" && boot != undashed(m.Boot) {
			line = "-- boot " + boot + " --\n" + line
		}
		if !w.entry(line) {
			return m, true, w.wrote
		}
		m = mark{Cursor: cursor, At: e.at(), Boot: dashed(e["_BOOT_ID"]), Keys: keys}
	}
}

// complaint is what is wrong with a run of journalctl that ended and said so.
func complaint(ended error, said string) error {
	has := func(text string) bool { return strings.Contains(said, text) }
	switch {
	case has("insufficient permissions"), has("Permission denied"), has("not seeing messages from"):
		return errDenied
	case has("No journal files were found"):
		return errNoJournal
	case ended != nil && has("cursor"):
		return errCursor
	case ended != nil:
		return fmt.Errorf("journalctl: %w: %.200q", ended, strings.TrimSpace(said))
	}
	return nil
}

// The journal writes the boot's id without the hyphens of the kernel.
func undashed(id string) string { return strings.ReplaceAll(id, "-", "") }

func dashed(id string) string {
	if len(id) != 32 {
		return id
	}
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// A head keeps the first kilobyte that is written to it.
type head struct{ strings.Builder }

func (h *head) Write(b []byte) (int, error) {
	_, _ = h.Builder.Write(b[:min(len(b), max(0, 1<<10-h.Len()))])
	return len(b), nil
}
