package conf

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Roots reads the certificates that servers are judged by; nil means the
// system's. An error names the setting.
func (c Cloud) Roots() (*x509.CertPool, error) {
	return roots("cloud.ca_file", c.CAFile)
}

// Roots is as Cloud.Roots, for the account's own servers.
func (a Account) Roots() (*x509.CertPool, error) {
	return roots("account.ca_file", a.CAFile)
}

func roots(setting, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %s holds no certificate in PEM", setting, file)
	}
	return pool, nil
}
