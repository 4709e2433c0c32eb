package agent

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/api"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// An identity is what the device says of itself, beside its token.
type identity struct {
	mu           sync.Mutex
	file         conf.IdentityFile
	hardware     string // the processor's serial number
	hardwareFrom string
}

func (d *identity) set(f conf.IdentityFile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.file = f
}

// login is what loginDevice is told: the settings first, the identity file
// then, the hardware last.
func (g *generation) login(tok account.Token) (api.Identity, error) {
	g.device.mu.Lock()
	defer g.device.mu.Unlock()
	if g.device.hardwareFrom == "" {
		g.device.hardware, g.device.hardwareFrom = hardwareCPUID("")
	}
	id := api.Identity{
		Token: tok.Raw(),
		CPUID: cmp.Or(g.conf.Identity.CPUID, g.device.file.CPUID, g.device.hardware),
		UUID:  cmp.Or(g.conf.Identity.UUID, g.device.file.UUID),
	}
	switch {
	case id.CPUID == "":
		return id, errors.New("cpu_id is unknown: set [identity] cpu_id")
	case id.UUID == "":
		return id, errors.New("uuid is unknown: set [identity] uuid")
	}
	return id, nil
}

// deviceID returns the number that names the device in topics, and where it is
// from.
func (g *generation) deviceID(tok account.Token) (id, source string) {
	g.device.mu.Lock()
	defer g.device.mu.Unlock()
	switch {
	case g.conf.Identity.DeviceID != "":
		return g.conf.Identity.DeviceID, "settings"
	case g.device.file.DeviceID != "":
		return g.device.file.DeviceID, "identity_file"
	case tok.DeviceID != "":
		return tok.DeviceID, "token"
	}
	return "", ""
}

// openIdentity tells the keeper what the identity file holds, and returns what
// does so after each change.
func (g *generation) openIdentity() func(context.Context) error {
	log := g.Log.With("task", "identity")
	path := g.conf.Paths.Identity
	watcher := conf.NewWatcher([]string{path}, log) // before the first look, which then misses nothing
	if err := g.writer().Recover(path); err != nil {
		log.Warn("write that a crash cut short not mended", "err", err)
	}
	g.readIdentity()
	return func(ctx context.Context) error { return watcher.Run(ctx, g.readIdentity) }
}

func (g *generation) readIdentity() {
	f, err := conf.ReadIdentity(g.conf.Paths.Identity)
	if f.Warning != nil {
		g.Log.Warn("identity file", "task", "identity", "err", f.Warning)
	}
	g.device.set(f)
	g.keeper.Offer(f.Token, err)
}

// writer writes the identity file; where it must be written in place, the state
// directory holds what mends it after a crash.
func (g *generation) writer() conf.Writer { return conf.Writer{Journal: g.conf.Paths.State} }

// newKeeper joins the token's keeper to the cloud, the disk and the identity
// file.
func (g *generation) newKeeper() *account.Keeper {
	c := g.conf
	g.tokens.Dir = filepath.Join(c.Paths.State, "cred")
	names := account.Names{
		DeviceID: slices.Concat(c.Identity.ClaimDeviceID, account.DefaultNames.DeviceID),
		Prefix:   slices.Concat(c.Identity.ClaimPrefix, account.DefaultNames.Prefix),
	}
	return &account.Keeper{
		Login: func(ctx context.Context, tok account.Token) (string, error) {
			id, err := g.login(tok)
			if err != nil {
				return "", err
			}
			return g.api.LoginDevice(ctx, id)
		},
		WriteBack: func(tok account.Token) error { return g.writer().WriteToken(c.Paths.Identity, tok.Raw()) },
		Store:     &g.tokens,
		Names:     names,
		Schedule:  account.Schedule{RenewBefore: c.Token.RenewBefore, Grace: c.Token.Grace, Spread: c.Token.Spread},
		Now:       g.clock.Now,
		NotBefore: g.clock.NotBefore,
		Alive:     func() { g.alive.Alive("token", account.Recheck+2*c.Cloud.Timeout) },
		Log:       g.Log.With("task", "token"),
	}
}
