package agent

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/api"
	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// newAccount joins an account's Keeper to its cloud and to the disk.
func (g *generation) newAccount(c conf.Account) (accountInForce, error) {
	p, err := accountProfile(c)
	if err != nil {
		return accountInForce{}, err
	}
	base, err := url.Parse(cmp.Or(c.URL, p.URL))
	if err != nil {
		return accountInForce{}, fmt.Errorf("account.url: %w", err)
	}
	pool, err := c.Roots()
	if err != nil {
		return accountInForce{}, err
	}
	dir := g.accountDirectory(c.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil { // without it the account goes on in memory, and says so
		g.Log.Warn("no directory for the account's tokens", "task", "accounts", "account", c.Name, "err", err)
	}
	own := &clock.Clock{Built: g.Built, Read: g.ReadClock} // each cloud has a clock of its own
	own.Load()
	own.NotBefore(g.clock.Now())
	trust := &tls.Config{RootCAs: pool, Time: own.TLSTime}
	client := api.NewHTTPClient(trust, g.conf.Cloud.Timeout, g.Dial)
	gate := &account.Gate{Limits: p.Limits, Path: filepath.Join(dir, "gate"), Now: own.Now}
	gate.Restore()
	provider := &account.Provider{
		Profile: p, Base: base, HTTP: client, Gate: gate,
		Values: func(call profile.Call) (profile.Values, error) { return accountValues(c, call) },
		OnDate: own.Learn, Try: own.Try,
		UserAgent: "spoke-zone-agent/" + g.Version, Timeout: g.conf.Cloud.Timeout,
	}
	if !c.APIKey.IsZero() {
		provider.Key = func() (string, error) { return c.APIKey.Read(credentials()) }
	}
	keeper := &account.Keeper{
		Provider:  provider,
		Store:     &account.Store{Dir: dir, Profiled: true, Subject: subjectOf(c, p, base)},
		Schedule:  account.ShareSchedule,
		Now:       func() time.Time { return g.accountTime(own) },
		Known:     func() bool { return own.Learned() || g.timeKnown() },
		NotBefore: own.NotBefore,
		Alive:     func() { g.alive.Alive(loopOf(c.Name), account.LongestTurn+4*g.conf.Cloud.Timeout) },
		Log:       g.Log.With("task", "accounts", "account", c.Name),
	}
	return accountInForce{
		Account: &account.Account{Name: c.Name, Profile: p, Base: base, HTTP: client, ByKey: provider.Key != nil, Keeper: keeper, Gate: gate},
		Conf:    c, login: &account.Login{},
	}, nil
}

// subjectOf names the cloud and who asks it. Where an account's settings lead
// elsewhere now, the tokens that it had stay where they are.
func subjectOf(c conf.Account, p profile.Profile, base *url.URL) string {
	kind := "token"
	if !c.APIKey.IsZero() {
		kind = "key"
	}
	return fmt.Sprintf("%s %s %s user %q client %q", kind, p.Name, base, c.Username, c.ClientID)
}

// loopOf names the loop of an account for the watchdog.
func loopOf(name string) string { return "account " + name }

// accountTime is the time of the account's cloud, or what comes closest to it.
func (g *generation) accountTime(own *clock.Clock) time.Time {
	if own.Learned() || !g.timeKnown() {
		return own.Now()
	}
	return g.clock.Now()
}

// credentials is the directory of the unit's credentials (systemd.exec(5)).
func credentials() string { return os.Getenv("CREDENTIALS_DIRECTORY") }

// accountValues reads what a call of the account carries. A secret that the
// call does not use is not read.
func accountValues(c conf.Account, call profile.Call) (profile.Values, error) {
	v := profile.Values{profile.Username: c.Username, profile.ClientID: c.ClientID, profile.Scope: c.Scope}
	for name, secret := range map[string]conf.Secret{profile.Password: c.Password, profile.ClientSecret: c.ClientSecret} {
		if !call.Uses(name) {
			continue
		}
		text, err := secret.Read(credentials())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		v[name] = text
	}
	return v, nil
}

// accountProfile is the profile of an account with what its settings change,
// or an error that names every setting that is missing or too much.
func accountProfile(c conf.Account) (profile.Profile, error) {
	p, ok := profile.ByName(c.Profile)
	if !ok || p.Kind == profile.Exchange {
		return p, fmt.Errorf("account.profile: %q is none of %s", c.Profile, profile.ForAccounts())
	}
	p = p.With(c.TokenPath, c.ProbePath, c.Username != "")
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.URL == "" && p.URL == "", "account.url is missing: each tenant of %s has an own one", p.Name)
	fault(c.TokenPath != "" && p.Name != "oauth2", "account.token_path is for the profile oauth2 alone")
	if c.Send != "" {
		styled, ok := p.SendBy(c.Send)
		fault(!ok, "account.send: %s takes no token by %s", p.Name, c.Send)
		p = styled
	}
	if !c.APIKey.IsZero() {
		fault(p.Key.Header == "", "account.api_key: %s has no API keys", p.Name)
		return p, errors.Join(faults...)
	}
	set := profile.Values{profile.Username: c.Username, profile.ClientID: c.ClientID, profile.Scope: c.Scope,
		profile.Password: c.Password.String(), profile.ClientSecret: c.ClientSecret.String()}
	for name, secret := range map[string]conf.Secret{profile.Password: c.Password, profile.ClientSecret: c.ClientSecret} {
		if secret.IsZero() {
			set[name] = ""
		}
	}
	needs := p.Login
	if p.Authorize != "" && c.Password.IsZero() { // a person logs in
		needs = p.Refresh
		set[profile.RefreshToken] = "from the login"
	}
	for _, name := range needs.Missing(set) {
		fault(true, "account.%s is missing: %s needs it", name, p.Name)
	}
	return p, errors.Join(faults...)
}
