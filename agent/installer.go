package agent

import (
	"path/filepath"

	"github.com/spoke-zone/spoke-zone-agent/conf"
	"github.com/spoke-zone/spoke-zone-agent/ota"
	"github.com/spoke-zone/spoke-zone-agent/ota/install"
)

// installPolicy is the file with the policy of the privileged installer. The
// daemon may read it: it says where the answers are.
const installPolicy = "/etc/spoke-zone-agent/install.conf"

// newInstaller speaks to the privileged installer.
func (g *generation) newInstaller() ota.Installer {
	c, err := conf.LoadInstall(installPolicy)
	if err != nil {
		g.Log.Warn("the installer has no policy", "task", "ota", "err", err)
	}
	return &install.Client{
		Agent: g.conf.Paths.State, Results: filepath.Join(c.State, "results"), Dir: c.Run,
		Hook: func(module string) string { return install.Rule{Hook: c.Rule(module).Hook}.HookPath(module) },
	}
}
