package host

import (
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A failing listener has no descriptors for some calls, then one connection,
// then none for some more, and is then closed.
type failing struct {
	net.Listener
	calls []int // failures before a connection, before the end
	asked int
}

func (f *failing) Accept() (net.Conn, error) {
	f.asked++
	if f.calls[0] > 0 {
		f.calls[0]--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	if f.calls = f.calls[1:]; len(f.calls) == 0 {
		return nil, net.ErrClosed
	}
	c, _ := net.Pipe()
	return c, nil
}

func TestAcceptWaitsWhileThereAreNoDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{calls: []int{20, 1}}
		began, taken := time.Now(), 0
		Accept(f, func(c net.Conn) { taken++; c.Close() })
		// 5, 10 ... 640 ms are eight waits, twelve more last a second each, and the next failure begins anew.
		want := 5*time.Millisecond*255 + 12*time.Second + 5*time.Millisecond
		if d := time.Since(began); d != want || taken != 1 || f.asked != 23 {
			t.Errorf("%d calls in %v took %d, want 23 in %v", f.asked, d, taken, want)
		}
	})
}
