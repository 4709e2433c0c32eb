package agent

import (
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// takeoverAgain is when a broker that accepted no takeover is tried again: it
// may have been replaced, and the price of asking is one short gap.
const takeoverAgain = 30 * 24 * time.Hour

// A refusal of takeovers is what the state directory keeps of a broker that has
// each connection end before the next of the same client.
type refusal struct {
	Broker string    `json:"broker"`
	At     time.Time `json:"at"`
}

func refusalPath(state string) string { return filepath.Join(state, "takeover") }

// refusesTakeovers reports whether the broker was found not to accept any. What
// the disk does not give back is found out again.
func (g *generation) refusesTakeovers(broker string) bool {
	var r refusal
	if _, err := atomicfile.LoadRecord(atomicfile.OS{}, refusalPath(g.conf.Paths.State), &r); err != nil {
		return false
	}
	return r.Broker == broker && g.clock.Now().Sub(r.At).Abs() < takeoverAgain
}

// keepRefusal remembers that the broker accepts no takeover.
func (g *generation) keepRefusal(broker string) {
	r := refusal{broker, g.clock.Now()}
	if err := atomicfile.SaveRecord(atomicfile.OS{}, refusalPath(g.conf.Paths.State), r); err != nil {
		g.Log.Warn("not remembered that the broker accepts no takeover", "task", "mqtt", "err", err)
	}
}
