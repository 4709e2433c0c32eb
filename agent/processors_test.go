package agent

import (
	"io"
	"runtime"
	"strings"
	"testing"
)

func TestProcessorsRestWhileNothingIsFetched(t *testing.T) {
	all := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(all)
	var p processors
	p.rest()
	want := func(n int) {
		t.Helper()
		if got := runtime.GOMAXPROCS(0); got != n {
			t.Fatalf("got %d processors, want %d", got, n)
		}
	}
	want(1)
	a, b := p.use(io.NopCloser(strings.NewReader("a"))), p.use(io.NopCloser(strings.NewReader("b")))
	want(2)
	a.Close()
	a.Close()
	want(2)
	b.Close()
	want(1)
}
