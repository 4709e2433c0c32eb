package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// The peers of the tests. The agent runs as uid 900, its group is 800.
var (
	root     = peer{pid: 1, uid: 0, gid: 0}
	self     = peer{pid: 2, uid: 900, gid: 900}
	member   = peer{pid: 3, uid: 1000, gid: 800}
	joined   = peer{pid: 4, uid: 1001, gid: 100, groups: []uint32{24, 800}}
	stranger = peer{pid: 5, uid: 1002, gid: 100, groups: []uint32{24}}
)

// A memory is a listener for connections in memory, whose peers are what the
// test says they are.
type memory struct {
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

type pipe struct {
	net.Conn
	peer peer
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), ended: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.ended:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.ended) }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial(p peer) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case m.conns <- pipe{theirs, p}:
			return ours, nil
		case <-m.ended:
			return nil, errors.New("connection refused")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// A bench is a server at work and what it logged.
type bench struct {
	t    *testing.T
	mem  *memory
	log  *safeBuffer
	stop func() error // ends the server and returns Run's error
}

// serve runs f in a bubble beside s. The bubble does not end before all
// goroutines of s have.
func serve(t *testing.T, s *Server, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, mem: newMemory(), log: new(safeBuffer)}
		s.Group = "spoke-zone"
		s.Log = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		s.listen = func(string) (net.Listener, error) { return b.mem, nil }
		s.peerOf = func(c net.Conn) (peer, error) { return c.(pipe).peer, nil }
		s.rights = func(string) (rights, error) { return rights{self: self.uid, group: 800}, nil }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		b.stop = sync.OnceValue(func() error { cancel(); return <-ended })
		defer func() {
			if err := b.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		f(t, b)
	})
}

func (b *bench) client(p peer) *Client {
	return &Client{Socket: "memory", dial: b.mem.dial(p)}
}

// do sends one request as p and returns the status and the body of the answer.
func (b *bench) do(p peer, method, path string, change func(*http.Request)) (int, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://localhost"+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	dial := b.mem.dial(p)
	tr := &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(body)
}

func with(key, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(key, value) }
}

func carrying(body string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
}

// code is the Code of err, which must be an *Error.
func code(t *testing.T, err error) Code {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an answer of the agent", err)
	}
	return e.Code
}

func (b *bench) quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
