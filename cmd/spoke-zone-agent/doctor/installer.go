package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/conf"
	"github.com/spoke-zone/spoke-zone-agent/ota/install"
)

const installPolicy = "/etc/spoke-zone-agent/install.conf"

// installer judges what may install updates: the policy, hooks and keys, as the
// privileged installer will.
func (p *patient) installer(context.Context) []Finding {
	name := p.root + installPolicy
	c, err := conf.LoadInstall(name)
	var faults conf.Faults
	if errors.As(err, &faults) {
		var all []Finding
		for _, f := range faults {
			all = append(all, fail(f.Error(), "correct it: nothing is installed before")...)
		}
		return all
	}
	if _, err := p.trust(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err.Error(), "chown root and chmod go-w: nothing is installed before")
	}
	var all []Finding
	for _, m := range p.conf.Modules {
		all = append(all, p.hook(m, c.Rule(m.Key))...)
	}
	if len(all) == 0 {
		return ok("no module is there to be installed")
	}
	return all
}

// hook judges how one module is installed.
func (p *patient) hook(m conf.Module, r conf.InstallRule) []Finding {
	rule := install.Rule{Hook: r.Hook}
	path := p.root + rule.HookPath(m.Key)
	program, err := p.trust(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && m.Policy != "install":
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fail(fmt.Sprintf("module %s: there is no hook %s", m.Key, path), "name a hook in install.conf: [module."+m.Key+"] hook =")
	case err != nil:
		return fail(fmt.Sprintf("module %s: %v", m.Key, err), "chown root and chmod go-w")
	}
	if info, err := os.Stat(program); err != nil || info.Mode()&0o111 == 0 {
		return fail(fmt.Sprintf("module %s: %s is no program", m.Key, path), "chmod 0755 "+path)
	}
	switch r.Require {
	case "none":
		return warn(fmt.Sprintf("module %s: require = none: whatever the cloud offers is installed", m.Key), "sign its releases: spoke-zone-agent ota sign")
	case "digest":
		return ok(fmt.Sprintf("module %s by %s, with a digest that nobody has signed", m.Key, path))
	}
	keys, err := install.LoadKeys(p.root+r.Keys, p.trust)
	if err != nil {
		return fail(fmt.Sprintf("module %s: %v", m.Key, err), "put the public key there, owned by root, mode 0644")
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID.String()
	}
	return ok(fmt.Sprintf("module %s by %s, signed with %s", m.Key, path, strings.Join(ids, " or ")))
}

// trust is the installer's own; where the files of a test stand for the
// system's, it only looks.
func (p *patient) trust(path string) (string, error) {
	if p.root == "" {
		return install.Trust(path)
	}
	_, err := os.Stat(path)
	return path, err
}
