package ota

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

const (
	bufferSize  = 256 << 10
	bufferCount = 3
	lingerTime  = time.Second // a slow link's bytes are passed on after so long
	stallTime   = time.Minute
	stallBytes  = 1 << 10
)

// errStalled means that a server sent next to nothing for a minute.
var errStalled = errors.New("stalled: less than 1 KiB in 60 s")

// A stall ends an attempt in which less than stallBytes arrive in stallTime.
type stall struct {
	timer *time.Timer
	got   int
}

func watchStall(cancel context.CancelCauseFunc) *stall {
	return &stall{timer: time.AfterFunc(stallTime, func() { cancel(errStalled) })}
}

// arrived counts n bytes.
func (s *stall) arrived(n int) {
	if s.got += n; s.got >= stallBytes {
		s.restart()
	}
}

func (s *stall) restart() {
	s.got = 0
	s.timer.Reset(stallTime)
}

// stop is called at the end and while the disk, not the server, is waited for.
func (s *stall) stop() { s.timer.Stop() }

// A pipeline reads a body in one goroutine while another hashes and writes, so
// that neither waits for the other: filling whole buffers and hashing beside the
// reading made a download over TLS a third faster than one copy loop.
type pipeline struct {
	src     io.Reader
	limit   *rate.Limiter // nil: as fast as it goes
	stall   *stall
	buffers *buffers
	free    chan []byte
	full    chan []byte
}

// buffers are what a download needs of memory, whatever the file's size.
type buffers [bufferCount][bufferSize]byte

// run passes all of src to sink. It returns the error of src, which is nil at its
// clean end, and the error of sink, after which sink is not called again. Bytes
// that were read before an error of src are still passed on. cancel must unblock
// src.
func (p *pipeline) run(ctx context.Context, cancel func(), sink func([]byte) error) (read, write error) {
	p.free, p.full = make(chan []byte, bufferCount), make(chan []byte, bufferCount)
	for i := range p.buffers {
		p.free <- p.buffers[i][:]
	}
	var g errgroup.Group
	g.Go(func() error {
		defer close(p.full)
		return p.read(ctx)
	})
	for b := range p.full {
		if write == nil {
			if write = sink(b); write != nil {
				cancel()
			}
		}
		p.free <- b[:bufferSize]
	}
	return g.Wait(), write
}

func (p *pipeline) read(ctx context.Context) error {
	for {
		b, err := p.buffer(ctx)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx) // whoever stores wants no more
		}
		n, err := p.fill(ctx, b)
		if n > 0 {
			p.full <- b[:n] // never blocks: it has room for every buffer
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
	}
}

// buffer waits for one that the disk is done with. That is not the server's
// delay.
func (p *pipeline) buffer(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.free:
		return b, nil
	default:
	}
	p.stall.stop()
	select {
	case b := <-p.free:
		p.stall.restart()
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fill reads until b is full, or has lingered, or src ends.
func (p *pipeline) fill(ctx context.Context, b []byte) (n int, err error) {
	most := len(b)
	if p.limit != nil {
		most = p.limit.Burst()
	}
	start := time.Now()
	for n < len(b) && (n == 0 || time.Since(start) < lingerTime) {
		k, err := p.src.Read(b[n:min(n+most, len(b))])
		n += k
		p.stall.arrived(k)
		if err != nil {
			return n, err
		}
		if p.limit != nil {
			if err := p.limit.WaitN(ctx, k); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// newLimiter returns what keeps downloads to a number of bytes per second, nil
// for no limit. Less than the stall rule asks for is not possible.
func newLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	perSecond := max(bytesPerSecond, stallBytes)
	return rate.NewLimiter(rate.Limit(perSecond), int(min(perSecond, 64<<10)))
}
