package mqtt

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDialerBoundsUnacknowledgedBytes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := NewDialer("mqtt://"+l.Addr().String(), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, name int) (n int) {
		if err := raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), level, name) }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); got != int(unsent/time.Millisecond) {
		t.Errorf("TCP_USER_TIMEOUT = %d ms, want %v", got, unsent)
	}
	if got := option(unix.SOL_SOCKET, unix.SO_KEEPALIVE); got != 0 {
		t.Errorf("SO_KEEPALIVE = %d: the kernel wakes the modem beside our pings", got)
	}
}
