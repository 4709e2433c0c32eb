package main

import (
	"io"
	"net"
	"time"
)

// A relay is a link with a delay: half a round trip each way, and a whole one
// before a connection stands, as for the handshake of TCP.
type relay struct {
	net.Listener
	to  string
	rtt time.Duration
}

func newRelay(to string, rtt time.Duration) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{l, to, rtt}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(c)
		}
	}()
	return r, nil
}

func (r *relay) pass(c net.Conn) {
	defer c.Close()
	<-time.After(r.rtt)
	b, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer b.Close()
	ended := make(chan struct{}, 2)
	go func() { r.delay(b, c); ended <- struct{}{} }()
	go func() { r.delay(c, b); ended <- struct{}{} }()
	<-ended
}

// delay hands on what it reads, half a round trip later.
func (r *relay) delay(to io.Writer, from io.Reader) {
	type chunk struct {
		at   time.Time
		data []byte
	}
	queue := make(chan chunk, 1024)
	go func() {
		defer close(queue)
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				queue <- chunk{time.Now().Add(r.rtt / 2), buf[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range queue {
		<-time.After(time.Until(c.at))
		if _, err := to.Write(c.data); err != nil {
			return
		}
	}
}
