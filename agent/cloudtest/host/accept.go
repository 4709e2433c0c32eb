package host

import (
	"errors"
	"net"
	"time"
)

// longest is how long Accept waits at most, as net/http's server does.
const longest = time.Second

// Accept gives every connection of l to take until l is closed. A failure may
// be one connection's trouble, or last, as where there are no descriptors left:
// it waits before it tries again, longer each time.
func Accept(l net.Listener, take func(net.Conn)) {
	wait := time.Duration(0)
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			wait = min(longest, max(5*time.Millisecond, 2*wait))
			<-time.After(wait)
		default:
			wait = 0
			take(c)
		}
	}
}
