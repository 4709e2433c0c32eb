package agent

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spoke-zone/spoke-zone-agent/conf"
	"github.com/spoke-zone/spoke-zone-agent/ota"
	"github.com/spoke-zone/spoke-zone-agent/ota/install"
)

// installPolicy is the file with the policy of the privileged installer. The
// daemon may read it: it says where the answers are.
const installPolicy = "/etc/spoke-zone-agent/install.conf"

// newInstaller speaks to the privileged installer.
func (g *generation) newInstaller() ota.Installer {
	c, err := conf.LoadInstall(g.installPolicy())
	if err != nil {
		g.Log.Warn("the installer has no policy", "task", "ota", "err", err)
	}
	return &install.Client{
		Agent: g.conf.Paths.State, Results: filepath.Join(c.State, "results"), Dir: c.Run,
		Hook: func(module string) string { return installRule(c, module).HookPath(module) },
	}
}

func (g *generation) installPolicy() string { return cmp.Or(g.InstallPolicy, installPolicy) }

func installRule(c conf.Install, module string) install.Rule {
	r := c.Rule(module)
	return install.Rule{Hook: r.Hook, Require: r.Require, Keys: r.Keys, Rollback: r.Rollback}
}

// ruled returns what install.conf says of a module, if it says anything: what
// is not there or cannot be used is for the installer to tell of.
func (g *generation) ruled(m conf.Module) (install.Rule, bool) {
	if _, err := os.Stat(g.installPolicy()); errors.Is(err, fs.ErrNotExist) {
		return install.Rule{}, false
	}
	c, err := conf.LoadInstall(g.installPolicy())
	named := slices.ContainsFunc(c.Rules, func(r conf.InstallRule) bool { return r.Key == m.Key })
	return installRule(c, m.Key), err == nil && (named || ota.Policy(m.Policy) == ota.Install)
}

// vet refuses releases that the installer would refuse, before their data is
// spent. What is fetched for others than the installer need not please it.
func (g *generation) vet(m conf.Module) func(ota.File) error {
	return func(f ota.File) error {
		if rule, ok := g.ruled(m); ok {
			return rule.Foresee(f)
		}
		return nil
	}
}

// installProblems warns of modules that are installed whoever made them.
func (g *generation) installProblems() (p []string) {
	for _, m := range g.conf.Modules {
		if rule, ok := g.ruled(m); ok && ota.Policy(m.Policy) == ota.Install && rule.Require == "none" {
			p = append(p, "module "+m.Key+": install.conf says require = none: whatever the cloud offers is installed")
		}
	}
	return p
}
