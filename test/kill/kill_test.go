//go:build integration

// Package kill ends the built agent with kill -9 at random instants and looks
// at what is left, on disk and at the cloud.
package kill

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "draw the instants from this seed; 0 takes a new one")
	killsFlag = flag.Int("kills", 200, "how often an agent is killed, in all")
)

// clouds are what the gateways meet. None of them revokes a token when it is
// renewed: then the instant between the cloud's answer and the disk would cost
// the device its access, whatever the agent did.
var clouds = []struct {
	name   string
	faults func(*cloudtest.Cloud)
}{
	{"plain", func(*cloudtest.Cloud) {}},
	{"latency", func(c *cloudtest.Cloud) {
		c.MustSet(cloudtest.Latency, cloudtest.Share(0.3).With("15ms"))
	}},
	{"lost answers", func(c *cloudtest.Cloud) {
		c.MustSet(cloudtest.LostAnswer, cloudtest.Share(0.2).On("login", "data-create", "data-put", "ota-list"))
	}},
	{"no validators", func(c *cloudtest.Cloud) {
		c.MustSet(cloudtest.NoETag, cloudtest.Always)
		c.MustSet(cloudtest.NoLastModified, cloudtest.Always)
	}},
}

func TestKillAtRandomInstants(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -args -seed=%[1]d", seed)
	start := time.Now()
	gateways := make([]*gateway, len(clouds))
	for i, c := range clouds {
		gateways[i] = newGateway(t, c.name, rand.New(rand.NewPCG(seed, uint64(i))))
		c.faults(gateways[i].cloud)
	}
	var g errgroup.Group
	for _, gw := range gateways {
		g.Go(func() error {
			gw.live(*killsFlag / len(gateways))
			return nil
		})
	}
	_ = g.Wait()
	var all tally
	for _, gw := range gateways {
		t.Logf("%-14s %v", gw.name, gw.tally)
		all.add(gw.tally)
	}
	t.Logf("%-14s %v, in %v", "all", all, time.Since(start).Round(time.Second))
	if t.Failed() {
		return
	}
	// Instants that met no work would prove nothing.
	for what, n := range map[string]int{
		"renewals": all.renewals, "releases fetched": all.fetched, "interrupted fetches": all.interrupted,
		"dropped files": all.dropped, "added files": all.added,
	} {
		if n == 0 {
			t.Errorf("no %s in %d kills", what, all.kills)
		}
	}
}
