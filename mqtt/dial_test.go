package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// A tlsBroker is the broker of the tests on a loopback listener.
type tlsBroker struct {
	broker
	address string
	roots   *x509.CertPool
	states  chan tls.ConnectionState // of each connection, as far as there is room
}

func newTLSBroker(t testing.TB, change func(*tls.Config)) *tlsBroker {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	if change != nil {
		change(config)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &tlsBroker{address: l.Addr().String(), roots: x509.NewCertPool(), states: make(chan tls.ConnectionState, 100)}
	b.roots.AddCert(cert)
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				s := tls.Server(c, config)
				if s.Handshake() != nil {
					c.Close()
					return
				}
				select {
				case b.states <- s.ConnectionState():
				default:
				}
				b.serve(s)
			}()
		}
	}()
	return b
}

func TestDialerResumesTheTLSSession(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		b := newTLSBroker(t, func(c *tls.Config) { c.MaxVersion = version; c.NextProtos = []string{"mqtt"} })
		d, err := NewDialer("mqtts://"+b.address, &tls.Config{RootCAs: b.roots, NextProtos: []string{"mqtt"}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			session(t, d, func(s *Session) {
				if err := s.Publish(t.Context(), Message{Topic: "a", QoS: 1}); err != nil {
					t.Errorf("Publish = %v", err)
				}
			})
			st := <-b.states
			if st.DidResume != (i > 0) || st.Version != version || st.NegotiatedProtocol != "" {
				t.Errorf("connection %d: resumed %v, version %x, ALPN %q", i, st.DidResume, st.Version, st.NegotiatedProtocol)
			}
		}
	}
}

// session runs a Session over d until use returns; use starts when it is online.
func session(t testing.TB, d *Dialer, use func(*Session)) {
	t.Helper()
	s := &Session{
		Dial: d.Dial, Broker: d.String(),
		Credential: func(context.Context) (Credential, <-chan struct{}, error) {
			return Credential{ClientID: "dev1", Username: "t1", Password: "x", Filters: []Filter{{Topic: "a/#"}}}, nil, nil
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for {
		st, changed := s.Status()
		if st.State == Online {
			break
		}
		if st.Err != "" {
			t.Fatal(st.Err)
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("not online: %+v", st)
		}
	}
	use(s)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDialerRefusesABadServer(t *testing.T) {
	old := newTLSBroker(t, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	good := newTLSBroker(t, nil)
	for _, c := range []struct {
		name    string
		address string
		config  *tls.Config
		want    string
	}{
		{"TLS 1.1", old.address, &tls.Config{RootCAs: old.roots, MinVersion: tls.VersionTLS10}, "protocol version"},
		{"another root", good.address, &tls.Config{RootCAs: old.roots}, "certificate"},
		{"system roots", good.address, nil, "certificate"},
		{"another name", good.address, &tls.Config{RootCAs: good.roots, ServerName: "io.spoke.zone"}, "io.spoke.zone"},
	} {
		d, err := NewDialer("mqtts://"+c.address, c.config, 0)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := d.Dial(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.address) || conn != nil {
			t.Errorf("%s: %v, want one that says %q", c.name, err, c.want)
		}
	}
}

func TestDialerGivesUpOnASilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := NewDialer("mqtts://"+l.Addr().String(), nil, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("err = %v", err)
	}
}

func TestDialerWithoutTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := NewDialer("mqtt://"+l.Addr().String(), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c.Write([]byte("hi"))
	p := make([]byte, 2)
	if _, err := io.ReadFull(server, p); err != nil || string(p) != "hi" {
		t.Errorf("read %q, %v", p, err)
	}
}

func TestNewDialer(t *testing.T) {
	for broker, want := range map[string]string{
		"mqtts://io.spoke.zone":       "mqtts://io.spoke.zone:8883",
		"mqtts://io.spoke.zone:443":   "mqtts://io.spoke.zone:443",
		"mqtt://localhost":            "mqtt://localhost:1883",
		"mqtts://[::1]:8883/":         "mqtts://[::1]:8883",
		"":                            "",
		"io.spoke.zone:8883":          "",
		"ssl://io.spoke.zone":         "",
		"mqtts://":                    "",
		"mqtts://:8883":               "",
		"mqtts://host:0":              "",
		"mqtts://host:70000":          "",
		"mqtts://host:x":              "",
		"mqtts://host/path":           "",
		"mqtts://host?a=b":            "",
		"mqtts://SECRET:SECRET@host":  "",
		"mqtts://SECRET@host:x:\x00y": "",
	} {
		d, err := NewDialer(broker, nil, 0)
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "broker address") || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("NewDialer(%q) = %v, %v", broker, d, err)
			}
			continue
		}
		if err != nil || d.String() != want {
			t.Errorf("NewDialer(%q) = %v, %v, want %s", broker, d, err, want)
		}
	}
	mine := &tls.Config{NextProtos: []string{"x"}}
	if _, err := NewDialer("mqtts://host", mine, 0); err != nil || mine.ServerName != "" || mine.NextProtos == nil {
		t.Errorf("NewDialer changed the caller's config: %v", err)
	}
}

// noCache is a session cache that remembers nothing.
type noCache struct{}

func (noCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (noCache) Put(string, *tls.ClientSessionState)        {}

// BenchmarkRotation measures dial, TLS, CONNECT, CONNACK, SUBSCRIBE, SUBACK and
// DISCONNECT on loopback, as a rotation of the token does them, with and
// without the memory of the TLS session.
func BenchmarkRotation(b *testing.B) {
	for name, cache := range map[string]tls.ClientSessionCache{"resumed": nil, "full": noCache{}} {
		b.Run(name, func(b *testing.B) {
			server := newTLSBroker(b, nil)
			d, err := NewDialer("mqtts://"+server.address, &tls.Config{RootCAs: server.roots, ClientSessionCache: cache}, 0)
			if err != nil {
				b.Fatal(err)
			}
			session(b, d, func(*Session) {})
			b.ReportAllocs()
			for b.Loop() {
				session(b, d, func(*Session) {})
			}
		})
	}
}
