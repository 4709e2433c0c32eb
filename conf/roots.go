package conf

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Roots reads the certificates that servers are judged by; nil means the
// system's. An error names the setting.
func (c Cloud) Roots() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("cloud.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cloud.ca_file: %s holds no certificate in PEM", c.CAFile)
	}
	return pool, nil
}
