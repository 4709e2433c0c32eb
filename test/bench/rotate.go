package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

// measureRotation times how long a session is away when its credential
// changes: from the end of the old connection to the SUBACK of the new one.
func measureRotation(r *rig, w io.Writer) error {
	var full, resumed sample
	rounds := r.often(5)
	for range rounds {
		for _, c := range []struct {
			to    *sample
			cache tls.ClientSessionCache
		}{{&full, forgetful{}}, {&resumed, nil}} {
			gaps, err := r.rotations(10, c.cache)
			if err != nil {
				return err
			}
			*c.to = append(*c.to, gaps...)
		}
	}
	fmt.Fprintf(w, "\n## Rotation of the credential\n\nThe agent's session moves to another user of the broker: from the end of the old connection to the new\nsubscription. %d rotations each, in turns of 10.\n\n", len(full))
	fmt.Fprintf(w, "| TLS | ms | beside the full handshake |\n|---|---|---|\n| full handshake | %s | 1 |\n| session resumed, as the agent does | %s | %.2f |\n",
		full.show(2), resumed.show(2), resumed.median()/full.median())
	return nil
}

// forgetful remembers no TLS session.
type forgetful struct{}

func (forgetful) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (forgetful) Put(string, *tls.ClientSessionState)        {}

// rotations runs one session through n credentials and returns the gaps in ms.
func (r *rig) rotations(n int, cache tls.ClientSessionCache) (gaps sample, err error) {
	pem, err := os.ReadFile(r.certs.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	dialer, err := mqtt.NewDialer("mqtts://"+r.broker.Addr, &tls.Config{RootCAs: roots, ClientSessionCache: cache}, 0)
	if err != nil {
		return nil, err
	}
	var current latest.Value[int]
	current.Set(0)
	var resumptions, dials atomic.Int64
	s := &mqtt.Session{
		Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := dialer.Dial(ctx)
			if t, ok := conn.(*tls.Conn); ok && t.ConnectionState().DidResume {
				resumptions.Add(1)
			}
			dials.Add(1)
			return conn, err
		},
		Credential: func(context.Context) (mqtt.Credential, <-chan struct{}, error) {
			i, _, superseded := current.Get()
			return mqtt.Credential{
				ClientID: "bench-rotate", Username: r.tokens[i%2], Password: password,
				Filters: []mqtt.Filter{{Topic: "mrs/d/4711/ctrl/#", QoS: 1}},
			}, superseded, nil
		},
		Clean: true,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	var session errgroup.Group
	session.Go(func() error { return s.Run(ctx) })
	defer session.Wait()
	defer cancel()
	for i := range n + 1 {
		status, changed := s.Status()
		for status.State != mqtt.Online || status.Connects != i+1 {
			select {
			case <-changed:
			case <-ctx.Done():
				return nil, fmt.Errorf("not online after rotation %d: %s", i, status.Err)
			}
			status, changed = s.Status()
		}
		if i > 0 {
			gaps = append(gaps, float64(status.Since.Sub(status.OfflineAt))/1e6)
		}
		<-time.After(1100 * time.Millisecond) // the session makes no two attempts in one second
		current.Set(i + 1)
	}
	if want := cache == nil; want != (resumptions.Load() > 0) {
		return nil, errors.New("TLS sessions were not resumed as this measurement means them to be")
	}
	return gaps, nil
}
