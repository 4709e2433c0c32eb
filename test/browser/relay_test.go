package browser

import (
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"golang.org/x/sync/errgroup"
)

// A relay is a line to the console that can be cut.
type relay struct {
	listener net.Listener
	to       string
	group    errgroup.Group

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool
}

// through returns a relay to address, and its own.
func through(t *testing.T, address string) (*relay, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, to: u.Host, conns: map[net.Conn]bool{}}
	r.group.Go(r.accept)
	t.Cleanup(func() {
		listener.Close()
		r.set(true)
		_ = r.group.Wait() // ends by being closed
	})
	return r, "http://" + listener.Addr().String() + "/"
}

func (r *relay) accept() error {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return err
		}
		r.group.Go(func() error { r.carry(conn); return nil })
	}
}

// carry carries one connection until either side ends it.
func (r *relay) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer far.Close()
	r.mu.Lock()
	if r.down {
		r.mu.Unlock()
		return
	}
	r.conns[near], r.conns[far] = true, true
	r.mu.Unlock()
	var both errgroup.Group
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() error {
			_, err := io.Copy(way[0], way[1])
			near.Close()
			far.Close()
			return err
		})
	}
	_ = both.Wait() // by being cut, as often as not
}

// set cuts the line, or mends it.
func (r *relay) set(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
	for conn := range r.conns {
		conn.Close()
	}
	clear(r.conns)
}

// TestConsoleComesBack cuts the line to the console: the page says so, comes
// back, and goes on where it was.
func TestConsoleComesBack(t *testing.T) {
	line, address := through(t, simulate(t, filepath.Join(t.TempDir(), "gateways"), "--devices", "1"))
	p := open(t, address)
	p.until("the device", `document.querySelector("#d123")`)
	p.send("before")
	p.until("its message", `document.querySelector("#message-list").textContent.includes("ctrl/before")`)
	p.mu.Lock()
	p.lossy = true
	p.mu.Unlock()
	line.set(true)
	p.until("the loss", `document.getElementById("link").dataset.state === "lost"`)
	p.picture("8-lost")
	line.set(false)
	p.until("the line again", `document.getElementById("link").dataset.state === "live"`)
	p.send("after")
	p.until("the next message", `document.querySelector("#message-list").textContent.includes("ctrl/after")`)
	if n := ask[int](p, `document.querySelectorAll("#message-list li").length`); n != 2 {
		t.Errorf("%d messages are shown; want each once", n)
	}
	p.download()
}

// send sends a command to the first device.
func (p *page) send(name string) {
	p.t.Helper()
	p.fill("#command [name=command]", name)
	p.click("#command button[type=submit]")
}

// download provisions a gateway whose files the browser takes.
func (p *page) download() {
	p.t.Helper()
	dir := p.t.TempDir()
	done := make(chan struct{})
	var once sync.Once
	if err := chromedp.ListenBrowser(p.ctx, func(event any) {
		if e, ok := event.(*browser.EventDownloadProgress); ok && e.State == browser.DownloadProgressStateCompleted {
			once.Do(func() { close(done) })
		}
	}); err != nil {
		p.t.Fatal(err)
	}
	yes := true
	if _, err := chromedp.CallBrowser(p.ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir, EventsEnabled: &yes,
	}); err != nil {
		p.t.Fatal(err)
	}
	p.click("#provision-open")
	p.fill("#provision-form [name=dir]", "/home/gateway/one")
	p.click("#provision-form button[type=submit]")
	p.until("the files", `document.querySelectorAll("#provisioned a[download]").length === 3`)
	p.picture("9-download")
	p.click(`#provisioned a[download="spoke-zone.conf"]`)
	select {
	case <-done:
	case <-p.ctx.Done():
		p.lost("the download", context.Cause(p.ctx))
	}
	text, err := os.ReadFile(filepath.Join(dir, "spoke-zone.conf"))
	if err != nil || !strings.Contains(string(text), "device_id = 124") || !strings.Contains(string(text), "mqtt_username = ") {
		p.t.Errorf("got %q, %v", text, err)
	}
}
