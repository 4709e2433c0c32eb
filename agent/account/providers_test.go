package account

import (
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/bace"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beacontower"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beamery"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/placeos"
)

// beaconLife is of a token; the vendor names none.
const beaconLife = 4 * time.Hour

func profileOf(name string) profile.Profile {
	p, _ := profile.ByName(name)
	return p
}

func atBeaconTower(seed uint64) *gateway {
	s := beacontower.New(beacontower.Options{Seed: seed, TokenLife: beaconLife})
	s.AddAccount(beacontower.Account{Username: "me@example.com", Password: "p-secret", Privileges: []string{"asset_management"}})
	return &gateway{cloud: s, profile: profileOf("beacon-tower"), call: "/assets",
		values: profile.Values{profile.Username: "me@example.com", profile.Password: "p-secret"}}
}

func atBACE(seed uint64) *gateway {
	s := bace.New(bace.Options{Seed: seed})
	s.AddAccount(bace.Account{Username: "me@example.com", Password: "p-secret", ClientID: "c", ClientSecret: "s-secret"})
	s.MustSet(bace.Zone, host.Always.With([]string{"Europe/Amsterdam", "UTC", "Pacific/Kiritimati"}[seed%3]))
	return &gateway{cloud: s, profile: profileOf("bace"), call: "/api/v2/group",
		values: profile.Values{profile.Username: "me@example.com", profile.Password: "p-secret", profile.ClientID: "c", profile.ClientSecret: "s-secret"}}
}

func atPlaceOS(seed uint64) *gateway {
	s := placeos.New(placeos.Options{Seed: seed})
	s.AddUser(placeos.User{Email: "me@example.com", Password: "p-secret"})
	s.AddApplication(placeos.Application{ID: "app", Redirects: []string{"http://127.0.0.1:8123/"}, Scopes: []string{"public", "mqtt.read"}})
	return &gateway{cloud: s, profile: profileOf("placeos"), call: "/api/engine/v2/api_keys/inspect",
		values: profile.Values{profile.Username: "me@example.com", profile.Password: "p-secret", profile.ClientID: "app", profile.Scope: "public mqtt.read"}}
}

func atBeamery(seed uint64) *gateway {
	s := beamery.New(beamery.Options{Seed: seed, TokenLife: 2 * time.Hour})
	s.AddClient(beamery.Client{ID: "c", Secret: "s-secret", Permissions: []string{"read:tasks"}})
	return &gateway{cloud: s, profile: profileOf("beamery"), call: "/v1/tasks",
		values: profile.Values{profile.ClientID: "c", profile.ClientSecret: "s-secret"}}
}

// most is an error where there were more logins than the manners of the
// provider allow.
func most(t *testing.T, g *gateway, logins int) {
	t.Helper()
	if n := g.cloud.Count(host.KindIssue); n > logins || n == 0 {
		t.Errorf("%d logins, want 1 to %d", n, logins)
	}
}

// TestLifeAtBeaconTower: at half of a token's life there is the next login.
func TestLifeAtBeaconTower(t *testing.T) {
	lives(t, 0, []string{beacontower.OpLogin}, atBeaconTower, func(t *testing.T, g *gateway) { most(t, g, 90*6*2) })
}

// TestLifeAtBACE: the vendor asks not to create tokens.
func TestLifeAtBACE(t *testing.T) {
	lives(t, 1, []string{bace.OpLogin, bace.OpRefresh}, atBACE, func(t *testing.T, g *gateway) { most(t, g, 3) })
}

// TestLifeAtPlaceOS: pairs that rotate, and a password for when all else fails.
func TestLifeAtPlaceOS(t *testing.T) {
	lives(t, 2, []string{placeos.OpToken}, atPlaceOS, func(t *testing.T, g *gateway) { most(t, g, 2) })
}

// TestLifeAtBeamery: client credentials, and a window that closes.
func TestLifeAtBeamery(t *testing.T) {
	lives(t, 1, []string{beamery.OpLogin}, atBeamery, func(t *testing.T, g *gateway) { most(t, g, 90*12*2) })
}
