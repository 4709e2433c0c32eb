package api

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// slowest is how long the header of an answer may take after the last byte of
// a request went to the kernel. It is generous: on a slow uplink most of an
// upload still waits in the send buffer then. Calls that send little have a
// tighter bound of their own, Client.Timeout.
const slowest = 5 * time.Minute

// idleFor is how long an unused connection stays open. The calls of one upload
// follow within it; between two of them nothing is left that could wake us.
const idleFor = 20 * time.Second

// NewHTTPClient returns the client that a Client wants. timeout bounds each of
// dialling and the TLS handshake; bodies have no bound here, because only their
// reader knows how slow is too slow. config holds the roots and the clock that
// certificates are judged by; nil means the system's. dial is nil for TCP.
// Proxies are those of the environment.
//
// It speaks HTTP/1.1 alone: a device has one call under way at a time, so that
// multiplexing gains nothing, while HTTP/2 was slower for a large body where it
// was measured and holds a connection's worth of buffers more.
func NewHTTPClient(config *tls.Config, timeout time.Duration, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	if config == nil {
		config = &tls.Config{}
	}
	config = config.Clone()
	config.NextProtos = []string{"http/1.1"}
	if config.MinVersion < tls.VersionTLS12 {
		config.MinVersion = tls.VersionTLS12
	}
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	}
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: time.Minute}).DialContext
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            within(timeout, dial),
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    timeout,
		ResponseHeaderTimeout:  slowest,
		Protocols:              protocols,
		DisableCompression:     true, // a payload's bytes are what is hashed
		MaxIdleConns:           2,
		MaxIdleConnsPerHost:    1,
		MaxConnsPerHost:        8,
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: 128 << 10,
		WriteBufferSize:        16 << 10, // one TLS record
	}}
}

// within gives each dial at most d.
func within(d time.Duration, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return dial(ctx, network, addr)
	}
}
