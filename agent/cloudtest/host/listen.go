package host

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// URL returns where the Host is found: by DialContext, until Listen gives it a
// place on a real network.
func (h *Host) URL() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.url
}

// DialContext connects in memory to the Host, whatever name it is called by;
// a port of 443 means TLS. It fails while the cloud is Unreachable.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if _, cut := h.rules.Roll(Unreachable, "dial"); cut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: network is unreachable", addr)}
	}
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	memory := h.inMemory()
	if memory == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: connection refused", addr)}
	}
	ours, theirs := net.Pipe()
	if _, port, err := net.SplitHostPort(addr); err == nil && port == "443" {
		ours = tls.Server(ours, h.certificate().Server())
	}
	memory.Serve(ours)
	return theirs, nil
}

// inMemory is the listener for connections in memory, nil once the Host is
// closed. It is made when it is first needed.
func (h *Host) inMemory() *PipeListener {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.memory == nil {
		h.memory = NewPipeListener()
		h.serving.HTTP(h.memory, h)
	}
	if h.serving.Closed() {
		return nil
	}
	return h.memory
}

// Client returns a client that finds the Host in memory and trusts it.
func (h *Host) Client() *http.Client {
	return &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{DialContext: h.DialContext, TLSClientConfig: h.certificate().Client()},
	}
}

// CA returns, as PEM, the certificate that a client in memory must trust.
func (h *Host) CA() []byte { return h.certificate().CA }

// certificate makes the certificate when it is first needed.
func (h *Host) certificate() *Certificate {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cert == nil {
		cert, err := NewCertificate(time.Now().Add(min(0, h.offset)), h.opt.Hosts)
		if err != nil {
			panic(fmt.Sprintf("cloudtest: make certificate: %v", err)) // of Hosts that cannot be
		}
		h.cert = cert
	}
	return h.cert
}

// Listen opens addr, a free port of 127.0.0.1 if it is empty. Others reach it
// at place, in which name, if not empty, stands for the address.
func Listen(addr, name string) (l net.Listener, place string, err error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		return nil, "", fmt.Errorf("listen on %s: %w", addr, err)
	}
	place = l.Addr().String()
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && name != "" {
		place = net.JoinHostPort(name, strconv.Itoa(tcp.Port))
	}
	return l, place, nil
}

// Until makes Close call stop.
func (h *Host) Until(stop func()) { h.serving.Until(stop) }

// Closed reports whether Close has begun.
func (h *Host) Closed() bool { return h.serving.Closed() }

// Listen serves on addr, a free port of 127.0.0.1 if it is empty, until Close.
// With settings it speaks TLS. Name, if not empty, stands in the place of the
// address in the URL that it returns.
func (h *Host) Listen(addr, name string, settings *tls.Config) (url string, err error) {
	l, place, err := Listen(addr, name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", h.opt.Name, err)
	}
	url = "http://" + place
	if settings != nil {
		settings = settings.Clone()
		settings.NextProtos = []string{"http/1.1"}
		l, url = tls.NewListener(l, settings), "https://"+place
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.serving.HTTP(l, h) {
		return "", fmt.Errorf("%s: listen on %s: closed", h.opt.Name, addr)
	}
	h.url = url
	return url, nil
}
