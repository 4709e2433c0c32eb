package agent

import (
	"cmp"
	"path/filepath"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// Kept is what the identity file said of the device when it could be read last.
// The state directory keeps it beside the token: a token without the cpu_id and
// the uuid that belong to it cannot be renewed.
type Kept struct {
	CPUID    string `json:"cpu_id,omitempty"`
	UUID     string `json:"uuid,omitempty"`
	DeviceID string `json:"device_id,omitempty"`
}

func keptPath(state string) string { return filepath.Join(state, "cred", "identity") }

// Recall reads what is kept in the state directory, nothing if that is not
// there or damaged.
func Recall(state string) Kept {
	var k Kept
	if _, err := atomicfile.LoadRecord(atomicfile.OS{}, keptPath(state), &k); err != nil {
		return Kept{}
	}
	return k
}

// with is k after the identity file was read.
func (k Kept) with(f conf.IdentityFile) Kept {
	return Kept{cmp.Or(f.CPUID, k.CPUID), cmp.Or(f.UUID, k.UUID), cmp.Or(f.DeviceID, k.DeviceID)}
}

// keep remembers what the identity file says, on disk if there it is new. Where
// the disk takes no writes it is kept in memory; the token's state tells of
// that disk.
func (g *generation) keep(f conf.IdentityFile) Kept {
	old := g.device.keptBefore()
	if old == (Kept{}) {
		old = Recall(g.conf.Paths.State)
	}
	k := old.with(f)
	if k != old || k != Recall(g.conf.Paths.State) {
		if err := atomicfile.SaveRecord(atomicfile.OS{}, keptPath(g.conf.Paths.State), k); err != nil {
			g.Log.Debug("identity not kept", "task", "identity", "err", err)
		}
	}
	return k
}
