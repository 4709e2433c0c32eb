package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// A post takes what is published, with the time since the start.
type post struct {
	mu       sync.Mutex
	start    time.Time
	at       []time.Duration
	payloads []string
	err      error
	now      map[string]string
	online   latest.Value[bool]
}

func (p *post) publish(_ context.Context, payload []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.at, p.payloads = append(p.at, time.Since(p.start)), append(p.payloads, string(payload))
	return nil
}

func (p *post) read(context.Context) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *post) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *post) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.at)
}

func startVersions(t *testing.T) (*post, func()) {
	p, _, stop := startNudged(t)
	return p, stop
}

func startNudged(t *testing.T) (*post, *Versions, func()) {
	p := &post{start: time.Now(), now: map[string]string{"display": "1.0", "can-1": "7"}}
	p.online.Set(true)
	v := &Versions{
		Every: time.Minute, Read: p.read, Publish: p.publish, Log: slog.New(slog.DiscardHandler),
		Online: func() (bool, <-chan struct{}) { on, _, changed := p.online.Get(); return on, changed },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	return p, v, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestVersionsArePublishedEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := startVersions(t)
		time.Sleep(5*time.Minute + time.Second)
		stop()
		want := []time.Duration{0, time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute, 5 * time.Minute}
		if !slices.Equal(p.at, want) || p.payloads[0] != `{"can-1":"7","display":"1.0"}` {
			t.Fatalf("got %v %q", p.at, p.payloads)
		}
	})
}

func TestChangedVersionIsPublishedBeforeTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, v, stop := startNudged(t)
		time.Sleep(10 * time.Second)
		v.Nudge() // without a change
		time.Sleep(10 * time.Second)
		p.set(func() { p.now = map[string]string{"display": "2.0"} })
		v.Nudge()
		time.Sleep(30 * time.Second)
		stop()
		if len(p.at) != 2 || p.at[1] != 20*time.Second || p.payloads[1] != `{"display":"2.0"}` {
			t.Fatalf("got %v %q", p.at, p.payloads)
		}
	})
}

func TestVersionsWaitForTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := startVersions(t)
		time.Sleep(time.Second)
		p.online.Set(false)
		time.Sleep(time.Hour)
		if n := p.count(); n != 1 {
			t.Fatalf("published %d times, though offline since the first", n)
		}
		p.online.Set(true)
		time.Sleep(time.Second)
		stop()
		if len(p.at) != 2 || p.at[1] != time.Hour+time.Second {
			t.Fatalf("not at once when the session is back: %v", p.at)
		}
	})
}

func TestFailedPublishIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := startVersions(t)
		time.Sleep(1500 * time.Millisecond) // never at the instant of an attempt
		p.set(func() { p.err = errors.New("unconfirmed") })
		time.Sleep(2 * time.Minute)
		p.set(func() { p.err = nil })
		time.Sleep(time.Minute)
		stop()
		if len(p.at) != 2 {
			t.Fatalf("got %v", p.at)
		}
	})
}

func TestNoModulesPublishNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := startVersions(t)
		p.set(func() { p.now = nil })
		time.Sleep(time.Second)
		n := p.count()
		time.Sleep(time.Hour)
		stop()
		if len(p.at) != n {
			t.Fatalf("an empty map was published: %q", p.payloads[n:])
		}
	})
}
