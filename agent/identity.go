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
	mu      sync.Mutex
	file    conf.IdentityFile
	kept    Kept     // what it said once
	sources []Source // of cpu_id and uuid
	refusal int      // HTTP status of the last login, if the cloud said no
}

// set takes over what the identity file says, and what it said once.
func (d *identity) set(c conf.Identity, f conf.IdentityFile, k Kept) {
	sources := Sources(c, f, k, "")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.file, d.kept, d.sources = f, k, sources
}

func (d *identity) keptBefore() Kept {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept
}

// password is the identity file's mqtt_password, or one that will do.
func (d *identity) password() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return cmp.Or(d.file.Password, noPassword)
}

// answered notes what the cloud thinks of the identity.
func (d *identity) answered(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refusal = status(err)
}

// known returns the sources of cpu_id and uuid and the last refusal.
func (d *identity) known() (sources []Source, refusal int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sources, d.refusal
}

// login asks the cloud for a successor of tok.
func (g *generation) login(ctx context.Context, tok account.Token) (string, error) {
	sources, _ := g.device.known()
	id := api.Identity{Token: tok.Raw(), CPUID: Used(sources, KeyCPUID).Value, UUID: Used(sources, KeyUUID).Value}
	switch {
	case id.CPUID == "":
		return "", errors.New("cpu_id is unknown: set [identity] cpu_id")
	case id.UUID == "":
		return "", errors.New("uuid is unknown: set [identity] uuid")
	}
	var raw string
	err := g.clock.Try(func() (err error) { raw, err = g.api.LoginDevice(ctx, id); return err })
	return raw, err
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
	case g.device.kept.DeviceID != "":
		return g.device.kept.DeviceID, "state"
	}
	return "", ""
}

// openIdentity tells the keeper what the identity file holds, and returns what
// does so after each change.
func (g *generation) openIdentity() func(context.Context) error {
	log := g.Log.With("task", "identity")
	path := g.conf.Paths.Identity
	paths := []string{path} // and the files that hold versions: one watch costs one look a minute
	for _, m := range g.conf.Modules {
		if m.VersionFile != "" {
			paths = append(paths, m.VersionFile)
		}
	}
	watcher := conf.NewWatcher(paths, log) // before the first look, which then misses nothing
	if err := g.writer().Recover(path); err != nil {
		log.Warn("write that a crash cut short not mended", "err", err)
	}
	g.readIdentity()
	return func(ctx context.Context) error {
		return watcher.Run(ctx, func() {
			g.readIdentity()
			g.versions.Nudge()
		})
	}
}

func (g *generation) readIdentity() {
	f, err := conf.ReadIdentity(g.conf.Paths.Identity)
	if f.Warning != nil {
		g.Log.Warn("identity file", "task", "identity", "err", f.Warning)
	}
	g.device.set(g.conf.Identity, f, g.keep(f)) // a torn file does not make us forget who we are
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
		Login:     g.loginOrAdopted,
		WriteBack: func(tok account.Token) error { return g.writer().WriteToken(c.Paths.Identity, tok.Raw()) },
		Store:     &g.tokens,
		Names:     names,
		Schedule:  account.Schedule{RenewBefore: c.Token.RenewBefore, Grace: c.Token.Grace, Spread: c.Token.Spread},
		Now:       g.clock.Now,
		Known:     g.timeKnown,
		NotBefore: g.clock.NotBefore,
		Alive:     func() { g.alive.Alive("token", account.Recheck+2*c.Cloud.Timeout) },
		Log:       g.Log.With("task", "token"),
	}
}

// timeKnown reports whether the cloud's clock has been heard since the boot.
func (g *generation) timeKnown() bool {
	s, r := g.clock.State()
	return s.Learned(r)
}
