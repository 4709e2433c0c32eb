package deliver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// send sends sig to the process whose number is in the file at path, after it
// has seen that this process is alive, is neither PID 1 nor ourselves, and is
// root's or its own user's to name: who may write the file could otherwise have
// any process of ours signalled (systemd.service(5), PIDFile=).
func send(path string, sig unix.Signal) error {
	pid, writer, err := readPID(path)
	if err != nil {
		return err
	}
	if pid <= 1 || pid == os.Getpid() {
		return fmt.Errorf("%s names process %d, which gets no signal", path, pid)
	}
	fd, err := unix.PidfdOpen(pid, 0) // from here on no other process can take the number's place
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%s is stale: there is no process %d", path, pid)
	}
	if err == nil {
		defer unix.Close(fd)
	}
	var st unix.Stat_t
	if serr := unix.Stat(fmt.Sprintf("/proc/%d", pid), &st); serr != nil {
		return fmt.Errorf("process %d of %s cannot be seen: %w: the unit's ProtectProc= hides those of other users", pid, path, serr)
	}
	if writer != 0 && writer != st.Uid {
		return fmt.Errorf("%s belongs to uid %d and process %d to uid %d: it may not name it", path, writer, pid, st.Uid)
	}
	if err == nil {
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) && os.Geteuid() == int(st.Uid) { // old kernel, or filtered
		err = unix.Kill(pid, sig)
	}
	switch {
	case errors.Is(err, unix.ESRCH):
		return fmt.Errorf("%s is stale: there is no process %d", path, pid)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("signal process %d of %s: %w: it is uid %d's, and the unit has no CAP_KILL", pid, path, err, st.Uid)
	case err != nil:
		return fmt.Errorf("signal process %d of %s: %w", pid, path, err)
	}
	return nil
}

// readPID returns the number in a pid file, and whose file it is.
func readPID(path string) (pid int, owner uint32, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("pid file: %w", err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, 0, fmt.Errorf("pid file %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o002 != 0 {
		return 0, 0, fmt.Errorf("pid file %s: it is no regular file, or everybody may write it", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 33))
	if err != nil {
		return 0, 0, fmt.Errorf("pid file %s: %w", path, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 31)
	if err != nil || len(text) > 32 {
		return 0, 0, fmt.Errorf("pid file %s holds no number", path)
	}
	return int(n), st.Uid, nil
}
