package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A conn is the network connection as the library sees it: it hands on only
// packets that are safe, keeps the connection alive, and ends it when the
// broker falls silent.
//
// The library's own keep alive wakes every 5 s whatever the interval is. This
// one has a single timer, which fires only when a PINGREQ or a verdict is due:
// idle, the process wakes twice in each keep-alive interval, to send a PINGREQ
// and to read its answer.
type conn struct {
	net.Conn
	limits
	frames frames // only the reader touches it
	sieve  *sieve // likewise; nil where nothing is taken out

	writing chan struct{} // held for each call: the library writes one packet, deliver several
	begun   bool          // CONNECT has been written; guarded by writing

	done chan struct{} // closed at the end, after err is set

	mu     sync.Mutex // never held over a read or a write
	err    error      // why the connection ended
	heard  time.Time  // the last read
	wrote  time.Time  // the last write
	pinged bool       // a PINGREQ is out and nothing was read since
	timer  *time.Timer

	beat chan struct{} // rung by tick
}

// limits is what a conn allows.
type limits struct {
	keepAlive time.Duration // 0: none
	answer    time.Duration // to a PINGREQ
	write     time.Duration // of one packet
	packet    int           // bytes of an inbound one
	filters   int
	clean     bool

	// skipped is told of messages above packet, which are left out, and acked of
	// PUBACKs. If they are nil, the library gets both.
	skipped func(topic string, bytes int)
	acked   func(id uint16)
}

// readAhead is how many bytes are read at once at most where little is asked for.
const readAhead = 2 << 10

func newConn(c net.Conn, l limits) *conn {
	out := &conn{
		Conn: c, limits: l,
		frames:  frames{max: l.packet, filters: l.filters},
		writing: make(chan struct{}, 1),
		done:    make(chan struct{}),
		beat:    make(chan struct{}, 1),
	}
	if l.skipped != nil {
		// The buffer is for connections without TLS, where each read is a system call.
		out.sieve = &sieve{src: bufio.NewReaderSize(c, readAhead), max: l.packet, alive: out.alive, acked: l.acked, skipped: out.skip}
	}
	return out
}

// skip acknowledges a message that is left out.
func (c *conn) skip(topic string, bytes int, ack []byte) {
	if ack != nil {
		_, _ = c.Write(ack) // Write ends the connection when it fails
	}
	c.skipped(topic, bytes)
}

// next reads from the network.
func (c *conn) next(p []byte) (int, error) {
	if c.sieve == nil {
		return c.Conn.Read(p)
	}
	return c.sieve.read(p, c.frames.greeted)
}

// Read hands on what frames lets pass.
func (c *conn) Read(p []byte) (int, error) {
	if c.frames.err != nil {
		return 0, c.frames.err
	}
	n, err := c.next(p)
	if n > 0 {
		c.alive()
		ok, bad := c.frames.pass(p[:n])
		if bad != nil {
			c.abort(bad)
			if ok > 0 {
				bad = nil // the next call says it
			}
			return ok, bad
		}
	}
	if err != nil {
		c.abort(err)
		err = c.cause()
	}
	return n, err
}

// Write sends whole packets within the write limit.
func (c *conn) Write(p []byte) (int, error) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	packet := p
	if !c.begun {
		var err error
		if packet, err = patchConnect(p, c.keepAlive, c.clean); err != nil {
			c.abort(err)
			return 0, err
		}
		c.begun = true
	}
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
		return 0, c.failed(err)
	}
	if _, err := c.Conn.Write(packet); err != nil {
		return 0, c.failed(err)
	}
	if err := c.Conn.SetWriteDeadline(time.Time{}); err != nil {
		return 0, c.failed(err)
	}
	c.mu.Lock()
	c.wrote = time.Now()
	c.mu.Unlock()
	return len(p), nil
}

func (c *conn) failed(err error) error {
	c.abort(err)
	return c.cause()
}

// SetDeadline bounds the handshake; it leaves writes to the write limit.
func (c *conn) SetDeadline(t time.Time) error { return c.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing: each Write has its own limit.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Close ends the connection in order, as the library does after DISCONNECT.
func (c *conn) Close() error {
	c.end(net.ErrClosed)
	return c.Conn.Close()
}

// abort ends the connection at once because of err, without the farewell of
// TLS, which may block for five seconds on a connection that is dead.
func (c *conn) abort(err error) {
	c.end(err)
	if t, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.Conn.Close()
}

// end records why the connection ends and stops the keep alive. The first
// reason counts. DISCONNECT can still be written.
func (c *conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if errors.Is(err, io.EOF) {
		err = errClosed
	}
	c.err = err
	if c.timer != nil {
		c.timer.Stop()
	}
	close(c.done)
}

// cause returns why the connection ended. The library takes an error with the
// text of net.ErrClosed for its own Close and falls asleep, so that text comes
// from Close alone.
func (c *conn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// keep starts the keep alive: after CONNACK.
func (c *conn) keep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keepAlive <= 0 || c.err != nil {
		return
	}
	now := time.Now()
	c.heard, c.wrote = now, now
	c.timer = time.AfterFunc(c.keepAlive, c.tick)
}

// tick sends a PINGREQ when nothing was written, or nothing was read, for the
// keep-alive interval. Both count: who only publishes at QoS 0 writes often and
// would never notice a dead peer. A PINGREQ with no answer ends the connection.
func (c *conn) tick() {
	select {
	case c.beat <- struct{}{}:
	default:
	}
	c.mu.Lock()
	now := time.Now()
	switch wait := c.due().Sub(now); {
	case c.err != nil:
		c.mu.Unlock()
		return
	case c.pinged:
		c.mu.Unlock()
		c.abort(fmt.Errorf("%w for %v after a ping", errSilent, c.answer))
		return
	case wait > 0:
		c.timer.Reset(wait)
		c.mu.Unlock()
		return
	}
	c.pinged, c.wrote = true, now
	c.timer.Reset(c.answer)
	c.mu.Unlock()
	_, _ = c.Write(pingreq) // Write ends the connection when it fails
}

var pingreq = []byte{0xc0, 0}

// alive notes that the broker was heard.
func (c *conn) alive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
	if c.pinged && c.err == nil {
		c.pinged = false
		c.timer.Reset(time.Until(c.due()))
	}
}

// due is when the next PINGREQ is. The caller holds mu.
func (c *conn) due() time.Time {
	first := c.heard
	if c.wrote.Before(first) {
		first = c.wrote
	}
	return first.Add(c.keepAlive)
}
