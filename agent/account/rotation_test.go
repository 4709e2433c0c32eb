package account

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/placeos"
)

// TestKillBetweenRotationAndStore kills a gateway 200 times while its pair is
// rotated, at every call of the disk in turn and between the calls of the
// cloud. It has no password for after the first login: one lost pair would lock
// it out for ever.
func TestKillBetweenRotationAndStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := atPlaceOS(7)
		defer g.cloud.Close()
		g.rng, g.disk = rand.New(rand.NewPCG(7, 7)), powercut.New()
		g.boot(t)
		if _, status, err := g.use(t.Context()); err != nil || status != 200 {
			t.Fatalf("first login: %d, %v", status, err)
		}
		g.kill(false)
		delete(g.values, profile.Password)
		for n := range 200 {
			g.disk.CutAt(g.disk.Calls() + 1 + n%16) // a store makes fewer, so that some rotations end
			if n%3 == 0 {
				g.cloud.MustSet(host.LostAnswer, host.Times(1).On(placeos.OpToken))
			}
			if n%5 == 0 {
				g.cloud.MustSet(host.LostAnswer, host.Times(1).On(placeos.OpAuthority))
			}
			g.boot(t)
			time.Sleep(100 * time.Minute) // past the time of renewal
			g.kill(false)
			g.disk.CutAt(1 << 30)
			g.boot(t)
			time.Sleep(11 * time.Minute)
			if raw, status, err := g.use(t.Context()); err != nil || status != 200 || !g.cloud.Valid(raw) {
				s, _ := g.Status()
				t.Fatalf("locked out after %d kills: %d, %v: %s", n+1, status, err, s.Reason)
			}
			g.kill(n%2 == 0)
		}
		if n := g.cloud.Count(host.KindIssue); n != 1 {
			t.Errorf("%d logins, want the first alone", n)
		}
		t.Logf("%d rotations", g.cloud.Count(host.KindRenew))
	})
}

// TestNewPairIsDurableBeforeTheOldOneIsRetired: while the disk takes no writes
// the cloud is not told that the new pair is kept, so that the one on the disk
// lives.
func TestNewPairIsDurableBeforeTheOldOneIsRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := atPlaceOS(1)
		defer g.cloud.Close()
		g.rng, g.disk = rand.New(rand.NewPCG(1, 1)), powercut.New()
		g.boot(t)
		if _, _, err := g.use(t.Context()); err != nil {
			t.Fatal(err)
		}
		kept := g.Keeper.slots.use().renewer
		g.disk.Fault(func(call, name string) error { return errDisk })
		before := len(g.cloud.Arrivals(placeos.OpAuthority))
		time.Sleep(6 * time.Hour)
		server := g.cloud.(*placeos.Server)
		if n := len(g.cloud.Arrivals(placeos.OpAuthority)); n != before || !server.CanRefresh(kept) {
			t.Errorf("the pair before was retired although the new one is not on disk")
		}
		if _, status, err := g.use(t.Context()); status != 200 {
			t.Errorf("from memory: %d, %v", status, err)
		}
		g.disk.Fault(nil)
		time.Sleep(3 * time.Hour)
		if n := len(g.cloud.Arrivals(placeos.OpAuthority)); n == before {
			t.Error("with a disk again, the cloud was never told that the pair is kept")
		}
		g.kill(false)
	})
}

// TestLoggedOutSessionsLogInAtOnce: the refresh token of a session that was
// ended is not tried.
func TestLoggedOutSessionsLogInAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := atPlaceOS(1)
		defer g.cloud.Close()
		g.rng, g.disk = rand.New(rand.NewPCG(1, 1)), powercut.New()
		g.boot(t)
		if _, _, err := g.use(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		g.cloud.(*placeos.Server).LogOut("me@example.com")
		time.Sleep(2 * time.Second) // a token of the same second counts as logged out
		tok, err := g.Token(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !g.Rejected(tok.Hash(), errLoggedOut) {
			t.Fatal("the report is about the token in force and was not taken")
		}
		time.Sleep(5 * time.Second)
		if _, status, err := g.use(t.Context()); status != 200 {
			t.Errorf("after the logout: %d, %v", status, err)
		}
		if n, m := g.cloud.Count(host.KindIssue), g.cloud.Count(host.KindRenew); n != 2 || m != 0 {
			t.Errorf("%d logins and %d refreshes, want 2 and none", n, m)
		}
		if g.Rejected(tok.Hash(), errLoggedOut) {
			t.Error("a report about a superseded token was taken")
		}
		g.kill(false)
	})
}
