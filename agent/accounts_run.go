package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// A runningAccount is one of accounts.d at work.
type runningAccount struct {
	conf conf.Account
	stop func() // and wait
}

// runAccounts runs a Keeper for each file of accounts.d until ctx is done. A
// change of one file restarts that account alone; a file with a fault, or a
// directory that cannot be read, leaves the account as it was before.
func (g *generation) runAccounts(ctx context.Context) error {
	log := g.Log.With("task", "accounts")
	watcher := conf.NewWatcher([]string{g.conf.Paths.Accounts}, log)
	running := map[string]runningAccount{}
	var seen []conf.Account
	var group errgroup.Group
	load := func() {
		confs, err := conf.LoadAccounts(g.conf.Paths.Accounts)
		g.troubles.set("accounts", err)
		if err != nil {
			log.Error("accounts with faults not used", "err", err)
		}
		for name, r := range running {
			keep := slices.ContainsFunc(confs, r.conf.Equal) || faulty(err, r.conf.File) || faulty(err, g.conf.Paths.Accounts)
			if !keep {
				r.stop()
				delete(running, name)
			}
		}
		for _, c := range seen {
			if !slices.ContainsFunc(confs, func(d conf.Account) bool { return d.Name == c.Name }) {
				g.troubles.set("account "+c.Name, nil)
			}
		}
		seen = confs
		for _, c := range confs {
			if _, ok := running[c.Name]; !ok {
				g.startAccount(ctx, &group, running, c)
			}
		}
	}
	load()
	err := watcher.Run(ctx, load)
	return errors.Join(err, group.Wait())
}

// faulty reports whether one of the faults in err is in the file.
func faulty(err error, file string) bool {
	var faults conf.Faults
	return errors.As(err, &faults) && slices.ContainsFunc(faults, func(f conf.Fault) bool { return f.File == file })
}

// startAccount starts the account of c, if its settings go together.
func (g *generation) startAccount(ctx context.Context, group *errgroup.Group, running map[string]runningAccount, c conf.Account) {
	acc, err := g.newAccount(c)
	if err == nil {
		acc.delivery, err = g.newDelivery(acc)
	}
	g.troubles.set("account "+c.Name, err)
	if err != nil {
		g.Log.Error("account not used", "task", "accounts", "account", c.Name, "err", err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	group.Go(func() error {
		defer close(done)
		defer acc.Gate.Save()
		var tasks errgroup.Group
		tasks.Go(func() error { // a delivery is not watched: a target that hangs is no reason to end the agent
			defer g.alive.Rest(loopOf(c.Name))
			return acc.Keeper.Run(ctx)
		})
		if acc.delivery != nil {
			tasks.Go(func() error { return acc.delivery.Run(ctx) })
		}
		return tasks.Wait()
	})
	g.accounts.set(acc)
	running[c.Name] = runningAccount{c, func() {
		cancel()
		<-done
		acc.HTTP.CloseIdleConnections()
		g.accounts.remove(c.Name)
	}}
}

// accountDirectory is where the account's tokens are kept.
func (g *generation) accountDirectory(name string) string {
	return filepath.Join(g.conf.Paths.State, "cred", "accounts", name)
}

// leftAccounts are the directories of accounts whose file is gone. A file may be
// gone by mistake, and what they hold may be all that renews a token without a
// person: it is for a person to remove them.
func (g *generation) leftAccounts() (dirs []string) {
	entries, _ := os.ReadDir(g.accountDirectory("")) // which is made with the first account
	for _, e := range entries {
		_, err := os.Lstat(filepath.Join(g.conf.Paths.Accounts, e.Name()+".conf"))
		if e.IsDir() && errors.Is(err, fs.ErrNotExist) {
			dirs = append(dirs, g.accountDirectory(e.Name()))
		}
	}
	return dirs
}

// otherAccounts are all accounts but the device's own.
func (g *generation) otherAccounts() []accountInForce {
	all, _ := g.accounts.all()
	return slices.DeleteFunc(all, func(a accountInForce) bool { return a.Name == local.DeviceAccount })
}

// CheckAccounts is an error that tells all that is wrong in the files of
// accounts.d.
func CheckAccounts(dir string) error {
	confs, err := conf.LoadAccounts(dir)
	all := []error{err}
	for _, c := range confs {
		_, err := accountProfile(c)
		_, derr := targetsOf(c)
		if err := errors.Join(err, derr); err != nil {
			all = append(all, errors.New(c.File+": "+strings.ReplaceAll(err.Error(), "\n", "\n"+c.File+": ")))
		}
	}
	return errors.Join(all...)
}
