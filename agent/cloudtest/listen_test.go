package cloudtest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// listening returns a gateway whose Cloud listens on loopback addresses.
func listening(t *testing.T, l Listeners, opt Options) *gateway {
	t.Helper()
	broker, err := NewMochi()
	if err != nil {
		t.Fatal(err)
	}
	opt.Broker = broker
	g := newGateway(t, opt)
	if g.addrs, err = g.cloud.Listen(l); err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	g.dial = d.DialContext
	transport := &http.Transport{TLSClientConfig: g.cloud.ClientTLS(), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	g.http.Transport = transport
	if l.TLS {
		g.dial = (&tls.Dialer{Config: g.cloud.ClientTLS()}).DialContext
	}
	return g
}

func TestCloudListens(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			g := listening(t, Listeners{TLS: secure}, Options{})
			g.cloud.Offer("display", "1", Seeded(1, 1<<20))
			if got := g.cloud.Addrs(); got != g.addrs || strings.HasPrefix(got.API, "https:") != secure || strings.HasPrefix(got.MQTT, "mqtts:") != secure {
				t.Errorf("got %+v", got)
			}
			if hostOf(g.addrs.API) == hostOf(g.addrs.Files) {
				t.Errorf("got %+v; want the files at another host", g.addrs)
			}
			g.login().want(t, 200)
			client, messages := g.mustConnect()
			g.subscribe(client, g.Base+"/ctrl/#")
			if err := g.cloud.Command(g.ID, "hello", []byte("there")); err != nil {
				t.Fatal(err)
			}
			if m := <-messages; string(m.Payload()) != "there" {
				t.Errorf("got %q", m.Payload())
			}
			g.http.CheckRedirect = nil // Go's client takes foreign headers along
			g.cloud.MustSet(RedirectFiles, Always)
			if a := g.file(); len(a.Body) != 1<<20 {
				t.Errorf("got %d bytes, status %d, %v", len(a.Body), a.Status, a.Err)
			}
			if got := g.cloud.Counts()[EventLeak]; got != 1 {
				t.Errorf("got %d leaks; want a careless client's token noticed", got)
			}
			g.cloud.MustSet(CutBody, Times(1).With(1000))
			g.cloud.MustSet(RedirectFiles, Off)
			if a := g.file(); a.Err == nil || len(a.Body) != 1000 {
				t.Errorf("got %d bytes, %v; want a cut", len(a.Body), a.Err)
			}
			g.cloud.MustSet(Unreachable, Always)
			if a := g.login(); a.Err == nil {
				t.Errorf("got status %d; want no answer", a.Status)
			}
		})
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	g := listening(t, Listeners{TLS: true}, Options{})
	g.login().want(t, 200)
	g.cloud.Offer("display", "1", Seeded(1, 1<<20))
	g.cloud.MustSet(SlowBody, Always.With(1))
	client, _ := g.mustConnect()
	done := make(chan answer)
	go func() { done <- g.file() }()
	if _, err := g.cloud.WaitFor(t.Context(), 0, func(e Event) bool { return e.Kind == EventConnect }); err != nil {
		t.Fatal(err)
	}
	g.cloud.Close()
	g.cloud.Close() // as a deferred one would
	<-done
	client.Disconnect(0)
	g.http.CloseIdleConnections()
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("got %d goroutines; want %d\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
	if a := g.login(); a.Err == nil {
		t.Error("got an answer of a closed Cloud")
	}
	if _, err := g.cloud.DialContext(t.Context(), "tcp", "127.0.0.1:80"); err == nil {
		t.Error("got a connection to a closed Cloud")
	}
}

func TestListenRefusesATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := New(Options{})
	defer c.Close()
	if _, err := c.Listen(Listeners{MQTT: taken.Addr().String()}); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("got %v; want an error that names the address", err)
	}
	if got := c.Addrs(); got != memoryAddrs {
		t.Errorf("got %+v; want no change", got)
	}
}

func TestDialFindsOnlyTheCloudsPlaces(t *testing.T) {
	c := New(Options{})
	defer c.Close()
	if _, err := c.DialContext(t.Context(), "tcp", "example.com:443"); err == nil {
		t.Error("got a connection to another place")
	}
}

func TestCertificateNamesItsHosts(t *testing.T) {
	c := New(Options{Hosts: []string{"sim.example", "192.0.2.1"}})
	defer c.Close()
	leaf, err := x509.ParseCertificate(c.ServerTLS().Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CA()) {
		t.Fatal("got a CA that is no PEM")
	}
	for _, host := range []string{"localhost", "127.0.0.1", "127.0.0.2", "::1", "api.spoke.zone", "io.spoke.zone", "sim.example", "192.0.2.1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := leaf.VerifyHostname("example.com"); err == nil {
		t.Error("got a certificate for example.com")
	}
}
