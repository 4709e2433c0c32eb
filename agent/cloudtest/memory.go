package cloudtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// Addrs are the places of a Cloud, as URLs.
type Addrs struct {
	API   string `json:"api"`
	MQTT  string `json:"mqtt"`
	Files string `json:"files"` // the other host
}

// memoryAddrs are the places in memory. They are loopback addresses because
// a gateway sends its token to nobody else without TLS.
var memoryAddrs = Addrs{API: "http://127.0.0.1", MQTT: "mqtt://127.0.0.1:1883", Files: "http://127.0.0.2"}

// MemoryTLSAddrs are the same places with TLS, under the vendor's names, whose
// certificate CA signs.
var MemoryTLSAddrs = Addrs{API: "https://api.spoke.zone", MQTT: "mqtts://io.spoke.zone:8883", Files: "https://127.0.0.2"}

// memory is the network in which a Cloud without listeners is found.
type memory struct {
	once  sync.Once
	hosts map[string]func(net.Conn) // by address
}

// Addrs returns where the Cloud is found: by DialContext, until Listen gives
// it places on a real network.
func (c *Cloud) Addrs() Addrs {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addrs
}

// DialContext connects in memory to one of the places of Addrs or of
// MemoryTLSAddrs, for http.Transport and for an MQTT client alike. TLS is the
// caller's to speak. It fails while the Cloud is Unreachable.
func (c *Cloud) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c.memory.once.Do(c.startMemory)
	serve, known := c.memory.hosts[addr]
	if !known {
		return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
	}
	if _, cut := c.hit(Unreachable, "dial"); cut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: network is unreachable", addr)}
	}
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	select {
	case <-c.serving.Done():
		return nil, &net.OpError{Op: "dial", Net: network, Err: ErrClosed}
	default:
	}
	ours, theirs := net.Pipe()
	serve(ours)
	return theirs, nil
}

// HTTPClient returns a client that finds the Cloud in memory and trusts it.
func (c *Cloud) HTTPClient() *http.Client {
	return &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{DialContext: c.DialContext, TLSClientConfig: c.ClientTLS()},
	}
}

func (c *Cloud) startMemory() {
	secure := c.ServerTLS()
	secure.NextProtos = []string{"http/1.1"}
	api := c.pipeServer(http.HandlerFunc(c.ServeHTTP))
	files := c.pipeServer(http.HandlerFunc(c.ServeFiles))
	overTLS := func(serve func(net.Conn)) func(net.Conn) {
		return func(conn net.Conn) { serve(tls.Server(conn, secure)) }
	}
	c.memory.hosts = map[string]func(net.Conn){
		"127.0.0.1:80":       api,
		"127.0.0.1:1883":     c.startMQTT,
		"127.0.0.2:80":       files,
		"127.0.0.1:443":      overTLS(api),
		"127.0.0.1:8883":     overTLS(c.startMQTT),
		"127.0.0.2:443":      overTLS(files),
		"api.spoke.zone:443": overTLS(api),
		"io.spoke.zone:8883": overTLS(c.startMQTT),
		"localhost:80":       api,
		"localhost:1883":     c.startMQTT,
	}
}

// pipeServer starts an HTTP server for connections in memory.
func (c *Cloud) pipeServer(h http.Handler) func(net.Conn) {
	l := host.NewPipeListener()
	c.serving.HTTP(l, h)
	return func(conn net.Conn) { l.Serve(conn) }
}

// startMQTT serves one connection.
func (c *Cloud) startMQTT(conn net.Conn) {
	if !c.serving.Go(func() { c.ServeMQTT(conn) }) {
		host.Cut(conn)
	}
}
