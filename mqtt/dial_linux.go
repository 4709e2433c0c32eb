package mqtt

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unsent is how long the kernel tries to deliver bytes that the peer does not
// acknowledge. Without it a dead connection is retried for a quarter of an hour
// after we have closed it.
const unsent = time.Minute

func control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		// An old kernel without it loses nothing but this.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unsent/time.Millisecond))
	})
}
