package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// A provided cloud is a faithful server of package cloudtest.
type provided interface {
	Client() *http.Client
	URL() string
	Valid(token string) bool
	MustSet(host.Fault, host.Switch)
	SetOffset(time.Duration)
	Count(kind string) int
	Arrivals(op string) []time.Time
	Close()
}

// A gateway is a device with one account at a cloud. Its disk outlives its
// boots.
type gateway struct {
	cloud   provided
	profile profile.Profile
	values  profile.Values
	call    string                 // path of a call that a local program makes
	skew    atomic.Int64           // of the system clock, a Duration
	key     func() (string, error) // an API key; nil if it has none
	disk    *powercut.Disk
	rng     *rand.Rand
	boots   int
	off     atomic.Bool // the process is dead, whatever it still does

	*Account
	stop context.CancelFunc
	done chan struct{}
}

// RoundTrip is the network of a process that may have died.
func (g *gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.off.Load() || g.disk.Off() {
		return nil, errors.New("killed")
	}
	return g.cloud.Client().Transport.RoundTrip(r)
}

// boot starts the account as the agent does.
func (g *gateway) boot(t *testing.T, change ...func(*Keeper)) {
	t.Helper()
	base, err := url.Parse(g.cloud.URL())
	if err != nil {
		t.Fatal(err)
	}
	g.boots++
	booted, id := time.Now(), strconv.Itoa(g.boots)
	own := &clock.Clock{Built: booted.Add(-30 * 24 * time.Hour), Read: func() clock.Reading {
		return clock.Reading{Wall: time.Now().Add(time.Duration(g.skew.Load())), Boot: time.Since(booted), BootID: id}
	}}
	own.Load()
	rng := rand.New(rand.NewPCG(g.rng.Uint64(), 1))
	gate := &Gate{Limits: g.profile.Limits, Path: "cred/gate", FS: g.disk, Now: own.Now}
	gate.Restore()
	client := &http.Client{Transport: g}
	g.Account = &Account{Name: "test", Profile: g.profile, Base: base, HTTP: client, Gate: gate, ByKey: g.key != nil, Keeper: &Keeper{
		Provider: &Provider{
			Key: g.key, Profile: g.profile, Base: base, HTTP: client, Gate: gate, OnDate: own.Learn, Timeout: 10 * time.Second,
			Values: func(profile.Call) (profile.Values, error) {
				v := profile.Values{}
				for k, s := range g.values {
					v[k] = s
				}
				return v, nil
			},
		},
		Store: &Store{Dir: "cred", FS: g.disk, Profiled: true}, Schedule: ShareSchedule,
		Now: own.Now, Known: own.Learned, NotBefore: own.NotBefore, Rand: rng.Float64, Log: slog.New(slog.DiscardHandler),
	}}
	for _, f := range change {
		f(g.Keeper)
	}
	g.off.Store(false)
	var ctx context.Context
	ctx, g.stop = context.WithCancel(t.Context())
	g.done = make(chan struct{})
	keeper, done := g.Keeper, g.done
	go func() { defer close(done); _ = keeper.Run(ctx) }()
}

// kill ends the process at once; cut also the power.
func (g *gateway) kill(cut bool) {
	g.off.Store(true)
	if cut {
		g.disk.CutAt(1)
	}
	g.stop()
	<-g.done
	if cut {
		_ = g.disk.SyncDir("") // the call before which it fails
	}
	if g.disk.Off() {
		g.disk = g.disk.Cut(g.rng, 0)
	}
}

// use is one call by a local program: it asks for a token, makes the call as
// the gate lets it, and reports a 401. It returns the token, "" if it got none.
func (g *gateway) use(ctx context.Context) (raw string, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tok, err := g.Token(ctx, 0)
	if err != nil {
		return "", 0, err
	}
	if err := g.Acquire(ctx); err != nil {
		return tok.Raw(), 0, err
	}
	var res *http.Response
	defer func() { g.Observe(res) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.cloud.URL()+g.call, nil)
	if err != nil {
		return tok.Raw(), 0, err
	}
	req.Header.Set(g.Send().Header, g.Send().Prefix+tok.Raw())
	if res, err = g.HTTP.Do(req); err != nil {
		return tok.Raw(), 0, err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.StatusCode == http.StatusUnauthorized {
		g.Rejected(tok.Hash(), fmt.Errorf("%s: 401", g.call))
	}
	return tok.Raw(), res.StatusCode, nil
}

// troubles are what goes wrong for a while.
var troubles = []struct {
	fault host.Fault
	when  host.Switch
}{
	{host.Unreachable, host.Always},
	{host.ServerError, host.Always.With("503")},
	{host.ServerError, host.Share(0.7).With("500")},
	{host.HTMLError, host.Always.With("502")},
	{host.CaptivePortal, host.Share(0.5).With("redirect")},
	{host.CaptivePortal, host.Always.With("page")},
	{host.TooManyRequests, host.Always.With("delta+30s")},
	{host.TooManyRequests, host.Share(0.6).With("epoch+90s")},
	{host.TooManyRequests, host.Always.With("none")},
	{host.LostAnswer, host.Share(0.6)},
	{host.TruncatedJSON, host.Share(0.8)},
	{host.WrongTypes, host.Share(0.8)},
	{host.NoDate, host.Always},
	{host.Latency, host.Always.With("3s")},
}

const (
	lifetime  = lifeDays * 24 * time.Hour
	recovered = 10 * time.Minute // after trouble or a start, when the token must serve again
)

// steps are where the system clock may jump, off from the true time.
var steps = []time.Duration{0, 2 * time.Hour, -40 * 24 * time.Hour, -20 * 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour}

// A diary is how a life went.
type diary struct {
	uses, served, troubled, steps int
	firstBad                      string
}

// live lets the gateway live for 90 days with trouble, kills, power cuts and a
// system clock that jumps, and a local program that calls every few minutes. Whenever the cloud could be
// reached for a while, the token that it gets must be valid there.
func (g *gateway) live(t *testing.T) diary {
	t.Helper()
	var r diary
	end := time.Now().Add(lifetime)
	quiet := time.Now() // since when nothing is wrong
	trouble, until := -1, time.Time{}
	g.boot(t)
	for time.Now().Before(end) {
		time.Sleep(time.Minute + time.Duration(g.rng.Int64N(int64(80*time.Minute))))
		switch dice := g.rng.IntN(1000); {
		case trouble >= 0 && time.Now().After(until):
			g.cloud.MustSet(troubles[trouble].fault, host.Off)
			trouble, quiet = -1, time.Now()
		case trouble < 0 && dice < 48:
			trouble = g.rng.IntN(len(troubles))
			until = time.Now().Add(time.Duration(g.rng.Int64N(int64(2 * time.Hour))))
			g.cloud.MustSet(troubles[trouble].fault, troubles[trouble].when)
		case dice >= 48 && dice < 72:
			g.kill(dice < 56)
			time.Sleep(time.Duration(g.rng.Int64N(int64(5 * time.Hour))))
			g.boot(t)
			if trouble < 0 {
				quiet = time.Now()
			}
		case dice >= 72 && dice < 96: // which must not matter at all
			g.skew.Store(int64(steps[g.rng.IntN(len(steps))]))
			r.steps++
		}
		raw, status, err := g.use(t.Context())
		r.uses++
		if trouble >= 0 || time.Since(quiet) < recovered {
			r.troubled++
			continue
		}
		if raw != "" && g.cloud.Valid(raw) && status == http.StatusOK {
			r.served++
		} else if r.firstBad == "" {
			s, _ := g.Status()
			r.firstBad = fmt.Sprintf("day %.2f: valid %v, status %d, %v; %s: %s", lifeDays-time.Until(end).Hours()/24, g.cloud.Valid(raw), status, err, s.State, s.Reason)
		}
	}
	g.kill(false)
	return r
}

// closest is the least time between two of the arrivals of an operation.
func closest(times []time.Time) time.Duration {
	least := lifetime
	for i := 1; i < len(times); i++ {
		least = min(least, times[i].Sub(times[i-1]))
	}
	return least
}

// lives runs a life for each seed, from the first on, and checks what every
// provider owes.
func lives(t *testing.T, first uint64, logins []string, begin func(seed uint64) *gateway, judge func(t *testing.T, g *gateway)) {
	for seed := first; seed < first+seeds; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := begin(seed)
				defer g.cloud.Close()
				g.rng = rand.New(rand.NewPCG(seed, 7))
				g.disk = powercut.New()
				g.cloud.SetOffset([]time.Duration{0, -time.Hour, 3 * time.Hour}[seed%3])
				g.skew.Store(int64(steps[seed%3]))
				r := g.live(t)
				t.Logf("%d uses, %d in trouble, %d served; %d steps of the clock; %d logins, %d renewals", r.uses, r.troubled, r.served, r.steps, g.cloud.Count(host.KindIssue), g.cloud.Count(host.KindRenew))
				if r.firstBad != "" || r.served != r.uses-r.troubled {
					t.Errorf("%d of %d uses not served, the first on %s", r.uses-r.troubled-r.served, r.uses-r.troubled, r.firstBad)
				}
				for _, op := range logins {
					if d := closest(g.cloud.Arrivals(op)); d < minGap {
						t.Errorf("two requests of %s within %v", op, d)
					}
				}
				if n := g.cloud.Count(host.KindInside); n != 0 {
					t.Errorf("%d requests came while the rate limit's window was closed", n)
				}
				judge(t, g)
			})
		})
	}
}
