package scenario

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// A relay stands before the broker, so that the broker can die and come back
// under the same address.
type relay struct {
	target string // address of the broker
	addr   string

	mu       sync.Mutex
	listener net.Listener // nil while it is down
	conns    map[net.Conn]bool
	group    errgroup.Group
}

func newRelay(broker string) (*relay, error) {
	_, target, ok := strings.Cut(broker, "://")
	if !ok {
		return nil, fmt.Errorf("broker %q: no address", broker)
	}
	r := &relay{target: target, conns: map[net.Conn]bool{}}
	return r, r.up()
}

// up listens, where it did before.
func (r *relay) up() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		return errors.New("the broker is up")
	}
	addr := r.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	r.listener, r.addr = l, l.Addr().String()
	r.group.Go(func() error {
		host.Accept(l, func(c net.Conn) { r.group.Go(func() error { r.carry(l, c); return nil }) })
		return nil
	})
	return nil
}

// down ends every connection as the kernel does for a process that was killed,
// and takes none.
func (r *relay) down() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener == nil {
		return errors.New("the broker is down")
	}
	r.listener.Close()
	r.listener = nil
	for c := range r.conns {
		if t, is := c.(*net.TCPConn); is {
			_ = t.SetLinger(0) // what was not delivered is lost
		}
		c.Close()
	}
	clear(r.conns)
	return nil
}

func (r *relay) close() {
	_ = r.down()
	_ = r.group.Wait()
}

// carry copies both ways until either end is gone.
func (r *relay) carry(l net.Listener, c net.Conn) {
	defer c.Close()
	b, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer b.Close()
	r.mu.Lock()
	if r.listener != l { // it went down meanwhile
		r.mu.Unlock()
		return
	}
	r.conns[c], r.conns[b] = true, true
	r.mu.Unlock()
	var both errgroup.Group
	both.Go(func() error { defer c.Close(); _, err := io.Copy(c, b); return err })
	both.Go(func() error { defer b.Close(); _, err := io.Copy(b, c); return err })
	_ = both.Wait()
	r.mu.Lock()
	delete(r.conns, c)
	delete(r.conns, b)
	r.mu.Unlock()
}
