package local

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// tokens serves a token of 2 KB at a real socket, and returns a client that
// keeps its connections.
func tokens(tb testing.TB) (get func() error, stop func() error) {
	tb.Helper()
	s := willing()
	token := strings.Repeat("t", 2000)
	s.Token = func(context.Context, string, time.Duration) (TokenAnswer, error) {
		return TokenAnswer{Token: token}, nil
	}
	s.Socket, s.Log = filepath.Join(tb.TempDir(), "agent.sock"), slog.New(slog.DiscardHandler)
	s.trustedRate = 1 << 20
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		for {
			c, err := new(net.Dialer).DialContext(ctx, "unix", s.Socket)
			if err == nil || ctx.Err() != nil {
				return c, err
			}
			time.Sleep(10 * time.Millisecond) // the socket is not there yet
		}
	}}}
	return func() error {
			res, err := client.Get("http://localhost/v1/accounts/device/token?min_validity=10m")
			if err != nil {
				return err
			}
			defer res.Body.Close()
			_, err = io.Copy(io.Discard, res.Body)
			return err
		}, func() error {
			client.CloseIdleConnections()
			cancel()
			return <-ended
		}
}

// TestTokenRequestsLeaveNothingBehind makes 20,000 of them: what the process
// holds afterwards stays far below the 16 MB that a gateway has for it.
func TestTokenRequestsLeaveNothingBehind(t *testing.T) {
	get, stop := tokens(t)
	var before, after runtime.MemStats
	for n := range 20_000 {
		if n == 2_000 {
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
		if err := get(); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 || after.HeapAlloc > 8<<20 {
		t.Errorf("18,000 requests leave %d bytes, of %d", grown, after.HeapAlloc)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func BenchmarkToken(b *testing.B) {
	get, stop := tokens(b)
	for b.Loop() {
		if err := get(); err != nil {
			b.Fatal(err)
		}
	}
	if err := stop(); err != nil {
		b.Error(err)
	}
}
