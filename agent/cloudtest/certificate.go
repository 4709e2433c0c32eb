package cloudtest

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// CA returns, as PEM, the certificate that a client must trust.
func (c *Cloud) CA() []byte { return c.certificate().CA }

// ClientTLS returns settings that trust the Cloud.
func (c *Cloud) ClientTLS() *tls.Config { return c.certificate().Client() }

// ServerTLS returns settings by which another server proves to be of the
// Cloud's Hosts to those who trust its CA.
func (c *Cloud) ServerTLS() *tls.Config { return c.certificate().Server() }

func (c *Cloud) certificate() *host.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cert == nil {
		cert, err := host.NewCertificate(time.Now(), append([]string{"api.spoke.zone", "io.spoke.zone"}, c.opt.Hosts...))
		if err != nil {
			panic(fmt.Sprintf("cloudtest: make certificate: %v", err)) // of Hosts that cannot be
		}
		c.cert = cert
	}
	return c.cert
}
