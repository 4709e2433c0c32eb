package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
)

func (p *patient) api(ctx context.Context) []Finding {
	return p.reach(ctx, p.conf.Cloud.URL, map[string]string{"https": "443", "http": "80"})
}

func (p *patient) broker(ctx context.Context) []Finding {
	return p.reach(ctx, p.conf.MQTT.Broker, map[string]string{"mqtts": "8883", "mqtt": "1883"})
}

// reach goes to a server as the agent does, up to where its secrets would go:
// name, TCP, TLS.
func (p *patient) reach(ctx context.Context, server string, ports map[string]string) []Finding {
	u, err := url.Parse(server)
	if err != nil || ports[u.Scheme] == "" {
		return fail("the address "+server+" cannot be used", "see spoke-zone-agent check")
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	begun := time.Now()
	addresses, err := p.lookup(ctx, host)
	if err != nil {
		return fail("the name "+host+" is not found: "+err.Error(), "see that there is a network and a name server: /etc/resolv.conf")
	}
	addr := net.JoinHostPort(host, port)
	conn, err := p.dial(ctx, "tcp", addr)
	if err != nil {
		return fail(fmt.Sprintf("no connection to %s (%s): %v", addr, strings.Join(addresses, ", "), err),
			"see that there is a route, and that a firewall lets port "+port+" out")
	}
	defer conn.Close()
	if u.Scheme == "http" || u.Scheme == "mqtt" {
		return ok(fmt.Sprintf("%s answers after %v, without TLS", addr, time.Since(begun).Round(time.Millisecond)))
	}
	return p.handshake(ctx, conn, host, addr, begun)
}

func (p *patient) lookup(ctx context.Context, host string) ([]string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{host}, nil
	}
	if p.Lookup != nil {
		return p.Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupHost(ctx, host)
}

func (p *patient) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if p.Dial != nil {
		return p.Dial(ctx, network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// handshake judges the server's certificate at the time that the agent goes by.
func (p *patient) handshake(ctx context.Context, conn net.Conn, host, addr string, begun time.Time) []Finding {
	pool, err := p.conf.Cloud.Roots()
	if err != nil {
		return fail(err.Error(), "name a file with certificates in PEM, or leave it empty for the system's")
	}
	at := clock.State{Floor: p.Built}.System(clock.Reading{Wall: p.time()})
	client := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS12, Time: func() time.Time { return at }})
	err = client.HandshakeContext(ctx)
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case err == nil:
		leaf := client.ConnectionState().PeerCertificates[0]
		return ok(fmt.Sprintf("%s answers after %v, with a certificate until %s", addr, time.Since(begun).Round(time.Millisecond), stamp(leaf.NotAfter)))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fail(fmt.Sprintf("the certificate of %s is not valid at %s: it is from %s to %s", addr, stamp(at), stamp(invalid.Cert.NotBefore), stamp(invalid.Cert.NotAfter)),
			"if the time is wrong, set the clock; if not, the server needs a new certificate")
	case errors.As(err, &unknown):
		return fail("the certificate of "+addr+" is signed by nobody that is trusted here: "+err.Error(),
			"install ca-certificates, or name the CA in cloud.ca_file; a proxy or a captive portal may be in between")
	case errors.As(err, &name):
		return fail("the certificate of "+addr+" is for another name: "+err.Error(), "correct cloud.url or mqtt.broker; a captive portal may be in between")
	}
	return fail("no TLS with "+addr+": "+err.Error(), "see what is in between: a proxy, a captive portal, a firewall")
}
