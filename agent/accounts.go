package agent

import (
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/deliver"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// An accountInForce is an account that runs, and where its token is delivered.
type accountInForce struct {
	*account.Account
	Conf conf.Account // of accounts.d; the zero one for the device's own

	forward  http.RoundTripper // of local programs' requests
	delivery *deliver.Account  // nil if there is none
	login    *account.Login    // of a person; nil for the device's own
}

// accounts are the clouds whose tokens the agent keeps: the device's own and
// those of accounts.d.
type accounts struct {
	mu      sync.Mutex
	byName  map[string]accountInForce
	changed chan struct{} // closed when byName has changed; nil until needed
}

// get returns the account of that name, or an error for a local program.
func (a *accounts) get(name string) (accountInForce, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if acc, ok := a.byName[name]; ok {
		return acc, nil
	}
	return accountInForce{}, local.Errorf(local.NotFound, "there is no account %q", name)
}

// all returns the accounts in the order of their names, and a channel that is
// closed when one of them came, went or has other settings.
func (a *accounts) all() ([]accountInForce, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	var list []accountInForce
	for _, name := range slices.Sorted(maps.Keys(a.byName)) {
		list = append(list, a.byName[name])
	}
	return list, a.changed
}

// set puts an account in the place of the one of its name.
func (a *accounts) set(acc accountInForce) {
	acc.forward = forwarder(acc.HTTP)
	a.change(func() { a.byName[acc.Name] = acc })
}

func (a *accounts) remove(name string) {
	a.change(func() { delete(a.byName, name) })
}

func (a *accounts) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byName == nil {
		a.byName = map[string]accountInForce{}
	}
	f()
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// deviceAccount is the device's own, as one of the accounts.
func (g *generation) deviceAccount() accountInForce {
	p, _ := profile.ByName("spoke-zone")
	return accountInForce{Account: &account.Account{
		Name: local.DeviceAccount, Profile: p, Base: g.api.Base, HTTP: g.api.HTTP,
		Keeper: g.keeper, Gate: &account.Gate{Limits: p.Limits},
	}}
}
