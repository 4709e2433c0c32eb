package host

import (
	"context"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A Serving is what a simulated cloud has running: its servers, their
// connections, and the requests that are being answered. Its methods may be
// called at any time, from any goroutine.
type Serving struct {
	done     chan struct{} // closed by Close
	handlers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	servers []func()          // what Close must stop
	conns   map[net.Conn]bool // HTTP connections, so that Drop finds them
}

// NewServing returns a Serving of nothing yet.
func NewServing() *Serving {
	return &Serving{done: make(chan struct{}), conns: map[net.Conn]bool{}}
}

// Done is closed when Close begins.
func (s *Serving) Done() <-chan struct{} { return s.done }

// Closed reports whether Close has begun.
func (s *Serving) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Begin counts one more handler, for whose End Close waits. It returns false
// once Close has begun.
func (s *Serving) Begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.handlers.Add(1)
	return true
}

// End is the end of a handler.
func (s *Serving) End() { s.handlers.Done() }

// Go runs serve, for which Close waits. It returns false, and runs nothing,
// once Close has begun.
func (s *Serving) Go(serve func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.handlers.Go(serve)
	return true
}

// Run runs a server, which stop makes return, until Close. Once that has begun
// it calls stop instead and returns false.
func (s *Serving) Run(serve, stop func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		stop()
		return false
	}
	s.servers = append(s.servers, stop)
	s.handlers.Go(serve)
	return true
}

// Until makes Close call stop.
func (s *Serving) Until(stop func()) { s.Run(func() {}, stop) }

// HTTP serves h on l until Close. It returns false, with l closed, once that
// has begun.
func (s *Serving) HTTP(l net.Listener, h http.Handler) bool {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // scanners and aborted handshakes
		ConnState:         s.connState,
	}
	if !s.Run(func() { server.Serve(l) }, func() { server.Close() }) {
		l.Close()
		return false
	}
	return true
}

// connState keeps the set of connections, for which Close waits.
func (s *Serving) connState(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state == http.StateNew:
		s.conns[conn] = true
		s.handlers.Add(1) // the server's own count keeps it above zero
	case (state == http.StateClosed || state == http.StateHijacked) && s.conns[conn]:
		delete(s.conns, conn)
		s.handlers.Done()
	}
}

// Pause waits for d and reports false when ctx or Close ended first.
func (s *Serving) Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-s.done:
	}
	return false
}

// Connected is how many HTTP connections there are. None of a client that is
// dead is left when all that it had sent is dealt with.
func (s *Serving) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Drop cuts every HTTP connection.
func (s *Serving) Drop() {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, conn := range conns {
		Cut(conn)
	}
}

// Close stops the servers, calls cut, which ends every connection, and waits
// for all that was started. It returns false when it was called before.
func (s *Serving) Close(cut func()) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	s.closed = true
	close(s.done)
	servers := s.servers
	s.mu.Unlock()
	for _, stop := range servers {
		stop()
	}
	cut()
	s.handlers.Wait()
	return true
}
