package mqtt

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"
)

// A Dialer opens connections to one broker, over TLS or, for tests and brokers
// on the gateway itself, without. It remembers the TLS session, so that
// connecting again costs one round trip and no certificates.
type Dialer struct {
	// NetDial opens the connection below TLS; TCP if nil. Set it before Dial.
	NetDial func(ctx context.Context, network, address string) (net.Conn, error)

	scheme  string
	address string // host:port
	tls     *tls.Config
	net     net.Dialer
	timeout time.Duration
}

// NewDialer returns a Dialer for mqtts://HOST[:8883] or mqtt://HOST[:1883].
// config may be nil: system roots, the host's name. Older versions than TLS 1.2
// are refused whatever config says. timeout bounds TCP and TLS together;
// DefaultTimeout if 0.
func NewDialer(broker string, config *tls.Config, timeout time.Duration) (*Dialer, error) {
	u, err := url.Parse(broker)
	switch {
	case err != nil:
		return nil, fmt.Errorf("broker address is not a URL (mqtts://HOST:PORT)")
	case u.User != nil:
		return nil, fmt.Errorf("broker address has a user name (mqtts://HOST:PORT)")
	case u.Scheme != "mqtts" && u.Scheme != "mqtt" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("broker address %q (mqtts://HOST:PORT)", broker)
	}
	port := cmp.Or(u.Port(), map[string]string{"mqtts": "8883", "mqtt": "1883"}[u.Scheme])
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("broker address %q: port (1 to 65535)", broker)
	}
	d := &Dialer{
		scheme: u.Scheme, address: net.JoinHostPort(u.Hostname(), port), timeout: cmp.Or(timeout, DefaultTimeout),
		// The session pings; probes of TCP would only wake the modem.
		net: net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1, Control: control},
	}
	if u.Scheme == "mqtts" {
		d.tls = config.Clone()
		if d.tls == nil {
			d.tls = new(tls.Config)
		}
		d.tls.ServerName = cmp.Or(d.tls.ServerName, u.Hostname())
		d.tls.MinVersion = max(d.tls.MinVersion, tls.VersionTLS12)
		d.tls.NextProtos = nil // brokers that know ALPN take it for a choice of protocol
		if d.tls.ClientSessionCache == nil {
			d.tls.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
	}
	return d, nil
}

// String returns the broker's address as a URL.
func (d *Dialer) String() string { return d.scheme + "://" + d.address }

// Dial opens a connection and, for mqtts, does the TLS handshake on it.
func (d *Dialer) Dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	dial := d.NetDial
	if dial == nil {
		dial = d.net.DialContext
	}
	c, err := dial(ctx, "tcp", d.address)
	if err != nil {
		return nil, err // names the operation and the address
	}
	if d.tls == nil {
		return c, nil
	}
	t := tls.Client(c, d.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("TLS with %s: %w", d.address, err)
	}
	return t, nil
}
