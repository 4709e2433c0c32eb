package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

const (
	linkRTT = 100 * time.Millisecond
	beat    = 2 * time.Millisecond // between two messages while the credential changes
)

// measureRotation times how long nothing of a session arrives when its
// credential changes, by the session itself and by a subscriber outside.
func measureRotation(r *rig, w io.Writer) error {
	way, err := newRelay(r.broker.Addr, linkRTT)
	if err != nil {
		return err
	}
	defer way.stop()
	type row struct {
		name       string
		addr       string
		breakFirst bool
		inside     sample
		outside    sample
	}
	rows := []*row{
		{name: "100 ms link, takeover", addr: way.Addr().String()},
		{name: "100 ms link, break before make", addr: way.Addr().String(), breakFirst: true},
		{name: "loopback, takeover", addr: r.broker.Addr},
		{name: "loopback, break before make", addr: r.broker.Addr, breakFirst: true},
	}
	for range r.often(3) {
		for _, c := range rows {
			inside, outside, err := r.rotations(10, c.addr, c.breakFirst)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.inside, c.outside = append(c.inside, inside...), append(c.outside, outside...)
		}
	}
	fmt.Fprintf(w, "\n## Rotation of the credential\n\nThe agent's session moves to another user of the broker with a message every %v. By the session itself: from the last\nmoment at which it could send to the first; by mosquitto_sub at the broker: the longest pause between two messages, %v of\nwhich is the pace. TLS sessions are resumed. The link of %v a round trip is a relay of this program.\n%d rotations each, in turns of 10.\n\n", beat, beat, linkRTT, len(rows[0].inside))
	fmt.Fprintf(w, "| | ms by the session | ms by a subscriber outside | round trips outside |\n|---|---|---|---|\n")
	for _, c := range rows {
		trips := "-"
		if c.addr != r.broker.Addr {
			trips = fmt.Sprintf("%.2f", c.outside.median()/ms(linkRTT))
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", c.name, c.inside.show(1), c.outside.show(1), trips)
	}
	fmt.Fprint(w, "\n", goal("gap of a takeover", rows[0].outside.median()/ms(linkRTT), 1.5, " round trips"),
		goal("the same by the session", rows[0].inside.median()/ms(linkRTT), 1.5, " round trips"))
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// trust is what the broker's certificate leads to.
func (r *rig) trust() (*tls.Config, error) {
	pem, err := os.ReadFile(r.certs.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, nil
}

// rotations runs one session through n credentials and returns the gaps in ms,
// by the session and by a subscriber.
func (r *rig) rotations(n int, addr string, breakFirst bool) (inside, outside sample, err error) {
	config, err := r.trust()
	if err != nil {
		return nil, nil, err
	}
	dialer, err := mqtt.NewDialer("mqtts://"+addr, config, 0)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	var work errgroup.Group
	defer work.Wait()
	defer cancel()
	pauses, err := r.pauses(ctx, &work)
	if err != nil {
		return nil, nil, err
	}
	var current latest.Value[int]
	current.Set(0)
	s := &mqtt.Session{
		Dial: func(ctx context.Context) (net.Conn, error) { return dialer.Dial(ctx) },
		Credential: func(context.Context) (mqtt.Credential, <-chan struct{}, error) {
			i, _, superseded := current.Get()
			return mqtt.Credential{ClientID: "bench-rotate", Username: r.tokens[i%2], Password: password}, superseded, nil
		},
		BreakFirst: breakFirst,
	}
	work.Go(func() error { return s.Run(ctx) })
	work.Go(func() error { // what a device has to say
		for ctx.Err() == nil {
			_ = s.Publish(ctx, mqtt.Message{Topic: "bench/rotate", Payload: []byte("x")})
			<-time.After(beat)
		}
		return nil
	})
	for i := range n + 1 {
		if err := online(ctx, s, i+1); err != nil {
			return nil, nil, err
		}
		<-time.After(3 * linkRTT) // until what was sent has arrived
		longest := pauses()
		if i > 0 {
			status, _ := s.Status()
			inside, outside = append(inside, ms(status.Gap)), append(outside, ms(longest))
			if !breakFirst && status.Takeovers != i {
				return nil, nil, errors.New("the broker did not take part in a takeover")
			}
		}
		<-time.After(1100 * time.Millisecond) // the session makes no two attempts in one second
		pauses()
		current.Set(i + 1)
	}
	return inside, outside, nil
}

// online waits for the n-th connection.
func online(ctx context.Context, s *mqtt.Session, n int) error {
	for {
		status, changed := s.Status()
		if status.State == mqtt.Online && status.Connects == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("not online with credential %d: %s", n, status.Err)
		}
	}
}

// pauses subscribes outside; what it returns says how long the longest pause
// between two messages has been since it was called before.
func (r *rig) pauses(ctx context.Context, work *errgroup.Group) (func() time.Duration, error) {
	host, port, _ := strings.Cut(r.broker.Addr, ":")
	cmd := exec.CommandContext(ctx, "mosquitto_sub", "-h", host, "-p", port, "--cafile", r.certs.CA, "-u", subUser, "-P", password, "-t", "bench/rotate")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var last time.Time
	var longest time.Duration
	work.Go(func() error {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			now := time.Now()
			mu.Lock()
			if !last.IsZero() {
				longest = max(longest, now.Sub(last))
			}
			last = now
			mu.Unlock()
		}
		return cmd.Wait()
	})
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		was := longest
		longest = 0
		return was
	}, nil
}
