package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A kmsgFile opens /dev/kmsg: each Read returns one message, and then io.EOF.
type kmsgFile func() (io.ReadCloser, error)

// maxRecord bounds a message (the kernel's own limit, CONSOLE_EXT_LOG_MAX).
const maxRecord = 8 << 10

var errKmsg = errors.New("no message of the kernel's log")

// openKmsg opens the kernel's log for reading what there is.
func openKmsg() (io.ReadCloser, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/kmsg", Err: err}
	}
	return kmsg(fd), nil
}

// A kmsg is a descriptor of /dev/kmsg. It is no os.File, which would wait for
// the next message.
type kmsg int

func (k kmsg) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(k), b)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EAGAIN):
			return 0, io.EOF
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EPIPE): // messages were overwritten: on with the oldest
		default:
			return 0, err
		}
	}
}

func (k kmsg) Close() error { return unix.Close(int(k)) }

// readKmsg writes the messages after m to w. Of an earlier boot none is left.
func (r *Recorder) readKmsg(m mark, w *writer) (next mark, more bool, err error) {
	in, err := r.kmsg()
	if err != nil {
		return m, false, fmt.Errorf("%w, and %w", errNoJournalctl, err)
	}
	defer in.Close()
	seen := m.Boot == r.BootID
	buf := make([]byte, maxRecord)
	for range 1 << 20 { // no log has more
		n, err := in.Read(buf)
		if errors.Is(err, io.EOF) {
			return m, false, nil
		}
		if err != nil {
			return m, false, err
		}
		msg, err := parseKmsg(buf[:n])
		if err != nil || seen && msg.seq <= m.Seq {
			continue
		}
		text, keys := m.Keys.Hide("", msg.text)
		line := kernelLine(msg.micros, text)
		if !seen {
			line = "-- boot " + undashed(r.BootID) + " --\n" + line
		}
		if !w.entry(line) {
			return m, true, w.wrote
		}
		seen = true
		m = mark{Boot: r.BootID, Seq: msg.seq, At: r.Now(), Keys: keys}
	}
	return m, false, nil
}

// A kmsgRecord is one message.
type kmsgRecord struct {
	seq    uint64
	micros int64
	text   string
}

// parseKmsg reads PRIORITY,SEQ,MICROSECONDS,FLAGS[,MORE];TEXT and the lines of
// fields after it (Documentation/ABI/testing/dev-kmsg).
func parseKmsg(b []byte) (kmsgRecord, error) {
	prefix, text, ok := bytes.Cut(b, []byte(";"))
	parts := strings.Split(string(prefix), ",")
	if !ok || len(parts) < 4 {
		return kmsgRecord{}, errKmsg
	}
	seq, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return kmsgRecord{}, errKmsg
	}
	micros, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || micros < 0 {
		return kmsgRecord{}, errKmsg
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return kmsgRecord{seq, micros, string(line)}, nil
}
