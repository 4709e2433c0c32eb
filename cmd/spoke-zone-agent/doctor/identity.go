package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent"
	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

func (p *patient) settings(context.Context) []Finding {
	var faults conf.Faults
	switch {
	case errors.As(p.confErr, &faults):
		var all []Finding
		for _, f := range faults {
			all = append(all, fail(f.Error(), "correct it, and see spoke-zone-agent check")...)
		}
		return all
	case p.confErr != nil:
		return fail(p.confErr.Error(), "see spoke-zone-agent check")
	case p.up() && p.status.Settings.Error != "":
		return fail("the daemon keeps older settings: "+p.status.Settings.Error, "spoke-zone-agent reload")
	}
	if _, err := os.Stat(p.ConfigPath); errors.Is(err, fs.ErrNotExist) {
		return ok(p.ConfigPath + " is not there: the defaults are in force")
	}
	return ok(p.ConfigPath + " has no fault")
}

// identityFile looks at the vendor's file: whether it is there, who can read
// it, and what is in it.
func (p *patient) identityFile(context.Context) []Finding {
	path := p.conf.Paths.Identity
	if p.idErr != nil {
		return p.withoutIdentity(path)
	}
	if _, err := account.ParseToken(p.identity.Token, account.Names{}); err != nil {
		return fail(fmt.Sprintf("%s: mqtt_username: %v", path, err), "put the token that the cloud issued for the device into mqtt_username: three parts between dots")
	}
	all := ok(path + " holds a token")
	if p.identity.Warning != nil {
		all = append(all, warn(p.identity.Warning.Error(), "leave one line with mqtt_username")...)
	}
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o004 != 0 {
		all = append(all, warn(fmt.Sprintf("%s has mode %#o: every local user can read the token", path, info.Mode().Perm()), "chmod o-rwx "+path)...)
	}
	if p.up() && p.status.Token.Stored.State && !p.status.Token.Stored.IdentityFile {
		all = append(all, warn(path+" does not hold the newest token: "+p.status.Token.Stored.Error,
			"make it writable if other programs read it; the agent itself goes on from its state directory")...)
	}
	return all
}

func (p *patient) withoutIdentity(path string) []Finding {
	text := p.idErr.Error()
	switch {
	case errors.Is(p.idErr, fs.ErrPermission):
		return warn(text, "run doctor as root to have it looked at")
	case p.up() && p.status.Token.State != "none" && p.status.Token.State != "":
		return warn(text+"; the agent works with the token in its state directory", "write mqtt_username into "+path+" if other programs read it")
	case errors.Is(p.idErr, conf.ErrNoFile):
		return fail(text, "provision the device, name the file in paths.identity, or bring a token: spoke-zone-agent adopt -")
	case errors.Is(p.idErr, conf.ErrNoToken), errors.Is(p.idErr, conf.ErrEmptyToken):
		return fail(text, "write the token as mqtt_username = ..., or spoke-zone-agent adopt -")
	}
	return fail(text, "restore the file, or bring a token: spoke-zone-agent adopt -")
}

func (p *patient) sources() []agent.Source {
	return agent.Sources(p.conf.Identity, p.identity, agent.Recall(p.conf.Paths.State), p.root)
}

func (p *patient) cpuID(context.Context) []Finding { return p.key(agent.KeyCPUID) }
func (p *patient) uuid(context.Context) []Finding  { return p.key(agent.KeyUUID) }

// key shows what each source says of key.
func (p *patient) key(key string) []Finding {
	all := p.sources()
	used := agent.Used(all, key)
	var seen []string
	differs := false
	for _, s := range all {
		switch {
		case s.Key != key:
		case s.Value == "":
			seen = append(seen, s.Name+": absent")
		case s == used:
			seen = append(seen, fmt.Sprintf("%s: %q, used", s.Name, s.Value))
		default:
			seen = append(seen, fmt.Sprintf("%s: %q", s.Name, s.Value))
			differs = differs || s.Value != used.Value
		}
	}
	text := strings.Join(seen, "; ")
	if used.Value != "" && p.hidden(used) {
		return fail(text+"; but the daemon cannot read "+used.Name+" there", "set it as [identity] "+key+", or spoke-zone-agent reload if the file is new: the unit keeps some files from the daemon")
	}
	refused := p.up() && p.status.Token.Refusal == 400
	switch {
	case used.Value == "" && errors.Is(p.idErr, fs.ErrPermission):
		return warn(text, "run doctor as root: the identity file cannot be read")
	case used.Value == "":
		return fail(text, "without it the token cannot be renewed: set [identity] "+key+" to what the cloud has of the device")
	case refused:
		return fail("the cloud answered 400, as it does for a wrong one. "+text,
			"compare with the device's entry in the cloud and set the right one as [identity] "+key)
	case differs:
		return warn(text, "if the cloud refuses to renew, try another one as [identity] "+key)
	}
	return ok(text)
}

// hidden reports a source that we see and the daemon, in its sandbox, does not.
func (p *patient) hidden(s agent.Source) bool {
	for _, d := range p.status.Identity.Sources {
		if p.up() && d.Key == s.Key && d.Name == s.Name {
			return d.State == "absent"
		}
	}
	return false
}
