package cloudtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certificateLife is long, for tests set their clocks far ahead.
const certificateLife = 50 * 365 * 24 * time.Hour

// A certificate is the server's, signed by a CA of the Cloud's own.
type certificate struct {
	ca     []byte // PEM
	pool   *x509.CertPool
	server tls.Certificate
}

// CA returns, as PEM, the certificate that a client must trust.
func (c *Cloud) CA() []byte { return c.certificate().ca }

// ClientTLS returns settings that trust the Cloud.
func (c *Cloud) ClientTLS() *tls.Config { return &tls.Config{RootCAs: c.certificate().pool} }

func (c *Cloud) serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.certificate().server}}
}

func (c *Cloud) certificate() *certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cert == nil {
		cert, err := newCertificate(time.Now(), c.opt.Hosts)
		if err != nil {
			panic(fmt.Sprintf("cloudtest: make certificate: %v", err)) // of Hosts that cannot be
		}
		c.cert = cert
	}
	return c.cert
}

func newCertificate(now time.Time, hosts []string) (*certificate, error) {
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Simulated Spoke Zone CA"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(certificateLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "simulated.spoke.zone"},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range append([]string{"localhost", "127.0.0.1", "127.0.0.2", "::1", "api.spoke.zone", "io.spoke.zone"}, hosts...) {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	made := &certificate{
		ca:     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}),
		pool:   x509.NewCertPool(),
		server: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey},
	}
	made.pool.AppendCertsFromPEM(made.ca)
	return made, nil
}
