package agent

import (
	"io"
	"runtime"
	"sync"
)

// processors lets the program run on one processor while it waits, and on all
// of them while a release is fetched, when one goroutine reads and another
// hashes and writes. Waiting is what it does nearly always, and on one
// processor each wake-up costs a third of the context switches (docs/benchmarks.md).
type processors struct {
	mu   sync.Mutex
	all  int // what the machine or GOMAXPROCS gives us; 0 until needed
	busy int // bodies that are being read
}

// rest is for a program that has nothing to do.
func (p *processors) rest() { p.add(0) }

func (p *processors) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == 0 {
		p.all = runtime.GOMAXPROCS(0)
	}
	p.busy += n
	want := 1
	if p.busy > 0 {
		want = p.all
	}
	if runtime.GOMAXPROCS(0) != want { // setting it stops the world for some microseconds
		runtime.GOMAXPROCS(want)
	}
}

// use takes all processors until body is closed.
func (p *processors) use(body io.ReadCloser) io.ReadCloser {
	p.add(1)
	return &busyBody{ReadCloser: body, done: sync.OnceFunc(func() { p.add(-1) })}
}

type busyBody struct {
	io.ReadCloser
	done func()
}

func (b *busyBody) Close() error {
	b.done()
	return b.ReadCloser.Close()
}
