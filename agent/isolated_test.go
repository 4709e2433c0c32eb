package agent

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// isolated runs the test again in a process with namespaces of its own, where
// it has the rights of root, and reports whether this is that process. The one
// that it returns false to has waited for the other.
func isolated(t *testing.T, namespaces uintptr) bool {
	t.Helper()
	const child = "AGENT_TEST_ISOLATED"
	if os.Getenv(child) != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"=1")
	if os.Geteuid() != 0 {
		namespaces |= unix.CLONE_NEWUSER
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if namespaces&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in its own namespaces: %v\n%s", err, out)
	}
	return false
}

// TestTheKernelTellsOfALinkThatComesUp takes a real kernel at its word: in a
// network namespace of its own the loopback link starts down.
func TestTheKernelTellsOfALinkThatComesUp(t *testing.T) {
	if !isolated(t, unix.CLONE_NEWNET) {
		return
	}
	kernel, err := openNetlink()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	nudged, done := make(chan struct{}, 8), make(chan error, 1)
	go func() { done <- nudgeOnChange(ctx, kernel, func() { nudged <- struct{}{} }) }()
	if err := setUp("lo"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-nudged:
	case err := <-done:
		t.Fatalf("it ended with %v", err)
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing is heard of a link that came up")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// setUp sets a link up (netdevice(7)).
func setUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], name)
	request.flags = unix.IFF_UP
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return os.NewSyscallError("SIOCSIFFLAGS", errno)
	}
	return nil
}
