package account

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

func answered(status int, headers ...string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
	for i := 0; i < len(headers); i += 2 {
		res.Header.Set(headers[i], headers[i+1])
	}
	return res
}

// TestGateStaysClosedOverARestart: the process ends in a window that the cloud
// has closed, in order or not, and with a clock that is set meanwhile.
func TestGateStaysClosedOverARestart(t *testing.T) {
	for name, c := range map[string]struct {
		reset string
		save  bool          // it ends in order
		down  time.Duration // for so long
		step  time.Duration // of the clock meanwhile
		least time.Duration // until a request passes
		most  time.Duration
	}{
		"killed":                {reset: "60", down: 5 * time.Second, least: 55 * time.Second, most: 56 * time.Second},
		"in order":              {reset: "2", save: true, least: 2 * time.Second, most: 3 * time.Second},
		"over":                  {reset: "60", down: 2 * time.Minute},
		"clock set back":        {reset: "60", down: time.Second, step: -24 * time.Hour, least: 59 * time.Second, most: 61 * time.Second},
		"clock set forward":     {reset: "60", down: time.Second, step: 24 * time.Hour},
		"what no cloud may ask": {reset: "86400", down: time.Second, least: 59 * time.Minute, most: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk, step := powercut.New(), time.Duration(0)
				boot := func() *Gate {
					g := &Gate{Limits: profile.Limits{Reset: "X-Ratelimit-Reset"}, Path: "gate", FS: disk,
						Now: func() time.Time { return time.Now().Add(step) }}
					g.Restore()
					return g
				}
				g := boot()
				if err := g.Acquire(t.Context()); err != nil {
					t.Fatal(err)
				}
				g.Observe(answered(http.StatusTooManyRequests, "X-Ratelimit-Reset", c.reset))
				if c.save {
					g.Save()
				}
				time.Sleep(c.down)
				step = c.step
				g, start := boot(), time.Now()
				if err := g.Acquire(t.Context()); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(start); waited < c.least || waited > c.most {
					t.Errorf("a request passed after %v; want %v to %v", waited, c.least, c.most)
				}
			})
		})
	}
}

// TestGateKeepsTheOrder: who waits is let through in the order of coming, also
// where some give up meanwhile, and one that comes again is last.
func TestGateKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{Limits: profile.Limits{Spent: true}}
		if err := g.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		var passed []int
		for i := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%5 == 2 {
				time.AfterFunc(time.Second, cancel)
			}
			go func() {
				for again := range 2 {
					if g.Acquire(ctx) != nil {
						return
					}
					passed = append(passed, i+100*again)
					time.Sleep(10 * time.Millisecond)
					g.Observe(nil)
				}
			}()
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		g.Observe(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(passed) != 2*16 || !slices.IsSorted(passed) {
			t.Errorf("passed: %v", passed)
		}
	})
}

// noRoute is a network without the cloud.
type noRoute struct{}

func (noRoute) RoundTrip(*http.Request) (*http.Response, error) { return nil, syscall.EHOSTUNREACH }

// TestKeeperDoesNotQueue: more programs wait than have their turn in the time
// that the Keeper waits, and always a new one for each that gives up.
func TestKeeperDoesNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{Limits: profile.Limits{Spent: true}}
		ctx, stop := context.WithCancel(t.Context())
		var programs sync.WaitGroup
		for range 64 {
			programs.Go(func() {
				for ctx.Err() == nil {
					wait, cancel := context.WithTimeout(ctx, gateWait)
					if g.Acquire(wait) == nil {
						time.Sleep(10 * time.Second)
						g.Observe(nil)
					}
					cancel()
				}
			})
		}
		time.Sleep(time.Hour)
		start := time.Now()
		p := &Provider{Gate: g, Base: &url.URL{Scheme: "http", Host: "cloud"}, HTTP: &http.Client{Transport: noRoute{}}}
		if _, _, err := p.send(ctx, profile.Request{Method: http.MethodGet}); !errors.Is(err, syscall.EHOSTUNREACH) || time.Since(start) > 10*time.Second {
			t.Errorf("the Keeper waited %v: %v", time.Since(start), err)
		}
		stop()
		programs.Wait()
	})
}

// TestTokensStayWithTheirCloud: an account's file is changed to lead to another
// cloud, and the tokens of the one before do not go there.
func TestTokensStayWithTheirCloud(t *testing.T) {
	disk := powercut.New()
	one := &Store{Dir: "cred", FS: disk, Profiled: true, Subject: "token placeos https://one"}
	if err := one.save(slots{Cur: Token{raw: "t", renewer: "r"}}); err != nil {
		t.Fatal(err)
	}
	for subject, want := range map[string]string{one.Subject: "t", "token placeos https://other": "", "": ""} {
		k := &Keeper{Store: &Store{Dir: "cred", FS: disk, Profiled: true, Subject: subject}, Provider: &Provider{Values: func(profile.Call) (profile.Values, error) { return nil, context.Canceled }},
			Log: slog.New(slog.DiscardHandler)}
		k.start()
		if tok, _, _ := k.Newest(); tok.Raw() != want || k.slots.use().renewer == "r" != (want == "t") {
			t.Errorf("%q has the token %q; want %q", subject, tok.Raw(), want)
		}
	}
}

// TestKeeperTurnsWhileTheWindowIsClosed: other programs have the cloud close its
// window for an hour again and again, just before the Keeper asks.
func TestKeeperTurnsWhileTheWindowIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := atBeamery(0)
		defer g.cloud.Close()
		g.rng, g.disk = rand.New(rand.NewPCG(1, 1)), powercut.New()
		g.boot(t)
		defer func() { g.kill(false) }()
		time.Sleep(time.Minute)
		g.kill(false)
		last, longest, closed := time.Now(), time.Duration(0), 0
		g.boot(t, func(k *Keeper) {
			k.Alive = func() {
				longest, last = max(longest, time.Since(last)), time.Now()
			}
			values := k.Provider.Values
			k.Provider.Values = func(c profile.Call) (profile.Values, error) {
				if closed++; closed < 4 {
					k.Provider.Gate.Observe(answered(http.StatusTooManyRequests, "Retry-After", "3600"))
				}
				return values(c)
			}
		})
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if closed < 4 || longest > LongestTurn {
			t.Errorf("closed %d times, and the longest turn took %v", closed, longest)
		}
		if st, _ := g.Status(); st.State != Good {
			t.Errorf("the token is %s at the end: %s", st.State, st.Reason)
		}
	})
}
