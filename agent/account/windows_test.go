package account

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/bace"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beacontower"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beamery"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/placeos"
)

var (
	errDisk      = errors.New("no space left on device")
	errLoggedOut = errors.New(`401: {"error":"logged out"}`)
)

// started is a gateway with its first token.
func started(t *testing.T, g *gateway) *gateway {
	t.Helper()
	g.rng, g.disk = rand.New(rand.NewPCG(1, 1)), powercut.New()
	g.boot(t)
	if _, status, err := g.use(t.Context()); status != 200 {
		t.Fatalf("first use: %d, %v", status, err)
	}
	return g
}

// TestTwoWindows: while renewing fails the token serves as long as it is good;
// at its very end a caller waits, and gets the reason.
func TestTwoWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := started(t, atBeaconTower(1))
		defer g.cloud.Close()
		defer func() { g.kill(false) }()
		g.cloud.MustSet(host.ServerError, host.Always.With("503"))
		time.Sleep(beaconLife * 9 / 10)
		begin := time.Now()
		if _, err := g.Token(t.Context(), 0); err != nil || time.Since(begin) > 0 {
			t.Errorf("early window: %v after %v, want the good token at once", err, time.Since(begin))
		}
		time.Sleep(beaconLife/10 - 2*time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := g.Token(ctx, 0)
		if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "503") {
			t.Errorf("late window: %v, want the reason", err)
		}
		tokens := make(chan error, 1)
		go func() { _, err := g.Token(t.Context(), time.Hour); tokens <- err }()
		time.Sleep(time.Minute)
		g.cloud.MustSet(host.ServerError, host.Off)
		if err := <-tokens; err != nil {
			t.Errorf("a caller that waits: %v", err)
		}
		if _, err := g.Token(t.Context(), beaconLife+time.Hour); !errors.Is(err, ErrNone) {
			t.Errorf("a token for longer than any lives: %v", err)
		}
	})
}

// TestCallersInTheLateWindowDoNotHammer: a thousand callers cause no more
// requests than none.
func TestCallersInTheLateWindowDoNotHammer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := started(t, atBeaconTower(1))
		defer g.cloud.Close()
		defer func() { g.kill(false) }()
		g.cloud.MustSet(host.ServerError, host.Always.With("500"))
		time.Sleep(beaconLife)
		before := len(g.cloud.Arrivals(beacontower.OpLogin))
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				if _, err := g.Token(ctx, 0); err == nil {
					t.Error("a token from nowhere")
				}
			})
		}
		wg.Wait()
		if n := len(g.cloud.Arrivals(beacontower.OpLogin)) - before; n > 5 {
			t.Errorf("%d logins in 10 minutes", n)
		}
	})
}

// TestForbiddenIsNotExpired: at BACE a call that the account may not make gets
// the same 401 as a dead token. However often it is made, no token is created,
// and the cloud is asked once in a while.
func TestForbiddenIsNotExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := started(t, atBACE(0))
		defer g.cloud.Close()
		defer func() { g.kill(false) }()
		g.call = "/api/v2/data/index"
		probes := len(g.cloud.Arrivals(bace.OpGroup))
		for range 600 {
			if _, status, err := g.use(t.Context()); status != 401 {
				t.Fatalf("got %d, %v; want 401", status, err)
			}
			time.Sleep(time.Second)
		}
		if n := g.cloud.Count(host.KindIssue); n != 1 {
			t.Errorf("%d tokens created", n)
		}
		if n := len(g.cloud.Arrivals(bace.OpGroup)) - probes; n < 1 || n > 4 {
			t.Errorf("%d probes in 10 minutes", n)
		}
	})
}

// TestDeadTokenIsReplacedOnce: where the cloud itself says that the token is
// dead, there is one login, however many programs report it.
func TestDeadTokenIsReplacedOnce(t *testing.T) {
	for name, begin := range map[string]func(uint64) *gateway{"bace": atBACE, "beamery": atBeamery, "beacon-tower": atBeaconTower} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := started(t, begin(0))
				defer g.cloud.Close()
				defer func() { g.kill(false) }()
				tok, err := g.Token(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				g.cloud.(interface{ Revoke(string) }).Revoke(tok.Raw())
				time.Sleep(10 * time.Minute)
				for range 50 {
					g.Rejected(tok.Hash(), errors.New("401"))
					time.Sleep(100 * time.Millisecond)
				}
				if _, status, err := g.use(t.Context()); status != 200 {
					t.Errorf("got %d, %v", status, err)
				}
				if n := g.cloud.Count(host.KindIssue); n != 2 {
					t.Errorf("%d logins, want 2", n)
				}
			})
		})
	}
}

// TestTokensThatAreNeverAccepted: where a cloud refuses each new token too, the
// logins become rare.
func TestTokensThatAreNeverAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := started(t, atBeaconTower(0))
		defer g.cloud.Close()
		defer func() { g.kill(false) }()
		for range 24 * 60 {
			if tok, err := g.Token(t.Context(), 0); err == nil {
				g.Rejected(tok.Hash(), errors.New("401"))
			}
			time.Sleep(time.Minute)
		}
		if n := g.cloud.Count(host.KindIssue); n < 10 || n > 60 {
			t.Errorf("%d logins in a day", n)
		}
	})
}

// TestWrongPasswordIsNotTriedOften: accounts are locked for less.
func TestWrongPasswordIsNotTriedOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := atBeaconTower(0)
		g.values[profile.Password] = "wrong-one"
		g.rng, g.disk = rand.New(rand.NewPCG(1, 1)), powercut.New()
		defer g.cloud.Close()
		g.boot(t)
		defer func() { g.kill(false) }()
		time.Sleep(24 * time.Hour)
		if n := len(g.cloud.Arrivals(beacontower.OpLogin)); n < 4 || n > 12 {
			t.Errorf("%d logins in a day", n)
		}
		s, _ := g.Status()
		if s.State != Unprovisioned || !strings.Contains(s.Reason, "401") || strings.Contains(s.Reason, "wrong-one") {
			t.Errorf("%s: %s", s.State, s.Reason)
		}
	})
}

// TestUnkeptAndExpiredIsNoHurry: the process ended before the cloud was told that
// the new token is kept, and comes back when that has expired and the cloud
// does not answer.
func TestUnkeptAndExpiredIsNoHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := started(t, atPlaceOS(1))
		defer g.cloud.Close()
		g.kill(false)
		store := &Store{Dir: "cred", FS: g.disk, Profiled: true}
		s, err := store.load(Names{})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.save(slots{Cur: s.use(), Next: s.use()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		g.cloud.MustSet(host.ServerError, host.Share(0.9).With("503"))
		before := len(g.cloud.Arrivals(placeos.OpToken))
		g.boot(t)
		defer func() { g.kill(false) }()
		time.Sleep(time.Hour)
		asked := g.cloud.Arrivals(placeos.OpToken)[before:]
		if n, d := len(asked), closest(asked); n < 2 || d < minGap {
			t.Errorf("%d requests, two of them within %v", n, d)
		}
	})
}

// TestEightProgramsAndOneWindow: eight programs call Beamery as fast as they
// are let, beside strangers who spend the same budget. No request comes while
// the window is closed, and each program has its share.
func TestEightProgramsAndOneWindow(t *testing.T) {
	for name, fault := range map[string]host.Fault{"alone": "", "beside a neighbour": beamery.NoisyNeighbour, "nothing ever remains": beamery.RemainingZero, "429": host.TooManyRequests} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := started(t, atBeamery(1))
				defer g.cloud.Close()
				defer func() { g.kill(false) }()
				if fault != "" {
					g.cloud.MustSet(fault, host.Share(0.3))
				}
				g.cloud.MustSet(host.Latency, host.Always.With("20ms"))
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				turns := make([]int, 8)
				for i := range turns {
					wg.Go(func() {
						for ctx.Err() == nil {
							if _, status, _ := g.use(ctx); status != 0 {
								turns[i]++
							}
						}
					})
				}
				wg.Wait()
				if n := g.cloud.Count(host.KindInside); n != 0 {
					t.Errorf("%d requests came while the window was closed", n)
				}
				if least, most := slices.Min(turns), slices.Max(turns); least < 5 || most > least+3 {
					t.Errorf("turns are not shared: %v", turns)
				}
				t.Logf("turns: %v", turns)
			})
		})
	}
}
