package main

import (
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

// A relay is a link with a delay: half a round trip each way, and a whole one
// before a connection stands, as for the handshake of TCP.
type relay struct {
	net.Listener
	to  string
	rtt time.Duration

	work errgroup.Group
}

func newRelay(to string, rtt time.Duration) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{Listener: l, to: to, rtt: rtt}
	r.work.Go(func() error {
		for {
			c, err := l.Accept()
			if err != nil {
				return nil // closed
			}
			r.work.Go(func() error { return r.pass(c) })
		}
	})
	return r, nil
}

// stop ends the relay, once its connections have ended.
func (r *relay) stop() {
	_ = r.Close()
	_ = r.work.Wait()
}

func (r *relay) pass(c net.Conn) error {
	defer c.Close()
	<-time.After(r.rtt)
	b, err := net.Dial("tcp", r.to)
	if err != nil {
		return err
	}
	defer b.Close()
	var ways errgroup.Group
	for _, way := range [][2]net.Conn{{b, c}, {c, b}} {
		ways.Go(func() error {
			defer way[0].Close() // which ends the other way, too
			return r.delay(way[0], way[1])
		})
	}
	return ways.Wait()
}

// delay hands on what it reads, half a round trip later.
func (r *relay) delay(to io.Writer, from io.Reader) error {
	type chunk struct {
		at   time.Time
		data []byte
	}
	queue := make(chan chunk, 1024)
	var reader errgroup.Group
	reader.Go(func() error {
		defer close(queue)
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				queue <- chunk{time.Now().Add(r.rtt / 2), buf[:n]}
			}
			if err != nil {
				return err
			}
		}
	})
	var failed error
	for c := range queue { // to its end: the reader waits for nobody else
		<-time.After(time.Until(c.at))
		if failed == nil {
			_, failed = to.Write(c.data)
		}
	}
	return errors.Join(reader.Wait(), failed)
}
