// Command fetch fetches one release as the agent does, and ends: the agent's
// download in a process of its own, so that it can be timed beside others.
//
//	fetch BASE CA DIR
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/api"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

func main() {
	if err := fetch(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// fetch gets release 1 of the API at base into dir and prints its digest and
// the most memory that it took.
func fetch(base, ca, dir string) error {
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &api.Client{
		Base: u, HTTP: api.NewHTTPClient(&tls.Config{RootCAs: roots}, 10*time.Second, nil),
		Token: func(context.Context) (string, error) { return "h.p.s", nil },
	}
	d := &ota.Download{Dir: dir, ID: "1", Open: func(ctx context.Context, id string, header http.Header) (ota.Response, error) {
		res, err := client.OTAContent(ctx, id, header)
		if err != nil {
			return ota.Response{}, err
		}
		return ota.Response{
			Status: res.StatusCode, Header: res.Header, Body: res.Body, URL: res.Request.URL.String(),
			ToClose: res.ContentLength < 0 && !slices.Contains(res.TransferEncoding, "chunked"),
		}, nil
	}}
	p, err := d.Run(context.Background())
	if err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
		memory, _, _ := strings.Cut(rest, "\n")
		fmt.Println(p.SHA256, "VmHWM:", memory)
	}
	return err
}
