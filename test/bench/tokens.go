package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	tokenRate    = 1000 // requests a second
	tokenClients = 8
)

// measureTokens has local programs ask the agent for the token 1,000 times a
// second, and watches what that takes.
func measureTokens(r *rig, w io.Writer) error {
	window := 20 * time.Second
	if r.quick {
		window = 3 * time.Second
	}
	gateway, err := r.gateway()
	if err != nil {
		return err
	}
	if err := gateway.Start(); err != nil {
		return err
	}
	p := &idler{name: "agent", cmd: gateway}
	defer p.end()
	socket := filepath.Join(filepath.Dir(gateway.Args[len(gateway.Args)-1]), "run", "agent.sock")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: tokenClients,
		DialContext:         func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) },
	}}
	defer client.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); ; { // until it serves
		if _, err = askToken(client); err == nil {
			break
		} else if time.Now().After(deadline) {
			return err
		}
		<-time.After(50 * time.Millisecond)
	}
	before, err := p.usage()
	if err != nil {
		return err
	}
	took := make([]sample, tokenClients)
	start := time.Now()
	var all errgroup.Group
	for i := range tokenClients {
		all.Go(func() error {
			for next := start; time.Since(start) < window; next = next.Add(tokenClients * time.Second / tokenRate) {
				<-time.After(time.Until(next))
				d, err := askToken(client)
				if err != nil {
					return err
				}
				took[i] = append(took[i], float64(d)/float64(time.Millisecond))
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	after, err := p.usage()
	if err != nil {
		return err
	}
	var each sample
	for _, s := range took {
		each = append(each, s...)
	}
	rate := float64(len(each)) / seconds
	fmt.Fprintf(w, "\n## Tokens for local programs\n\n%d programs ask for the token over the unix socket, %d times a second in all, for %v.\n\n", tokenClients, tokenRate, window)
	fmt.Fprint(w, "| requests a second | ms each | CPU s a 1,000 requests | PSS MB before | afterwards | private dirty MB before | afterwards |\n|---|---|---|---|---|---|---|\n")
	fmt.Fprintf(w, "| %.0f | %s | %.3f | %.1f | %.1f | %.1f | %.1f |\n\n", rate, each.show(2), (after.cpu-before.cpu)/float64(len(each)), before.pss, after.pss, before.dirty, after.dirty)
	fmt.Fprint(w, goal("PSS", after.pss, 16, " MB"), goal("of the requests not made", 1-rate/tokenRate, 0.05, ""))
	return nil
}

// askToken gets the token once.
func askToken(c *http.Client) (time.Duration, error) {
	start := time.Now()
	res, err := c.Get("http://localhost/v1/accounts/device/token")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("ask for the token: %s", res.Status)
	}
	return time.Since(start), nil
}
