package account

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
)

// conf is the identity file, of which the simulation knows the token alone.
const confFile = "etc/conf"

// A device is a gateway in a world: a disk that outlives its boots, and the
// parts of the agent that keep the token.
type device struct {
	mu sync.Mutex // guards the world and what follows
	*world
	disk    *powercut.Disk
	built   time.Time
	omit    string // the part that is taken out
	boots   int
	booted  time.Time    // in the world's time
	wall    atomic.Int64 // nanoseconds that the system clock is ahead
	clock   *clock.Clock
	keeper  *Keeper
	died    chan struct{} // closed when the disk has lost power by itself
	stop    context.CancelFunc
	stopped chan struct{}
	spans   []span    // in which the cloud could be reached
	since   time.Time // when the span under way began; zero if none
	brought string    // the token that a person wrote last
	mrs     bool      // another program renews the token in the identity file too
}

// look ends the span under way if the power has failed.
func (d *device) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.disk.Off() {
		return
	}
	d.reach()
	select {
	case <-d.died:
	default:
		close(d.died)
	}
}

func (d *device) on() bool { return d.keeper != nil && !d.disk.Off() }

// reach begins or ends a span, after anything has changed.
func (d *device) reach() {
	reachable := d.on() && d.linked && d.episode == ""
	switch {
	case reachable && d.since.IsZero():
		d.since = d.now()
	case !reachable && !d.since.IsZero():
		d.spans = append(d.spans, span{d.since, d.now()})
		d.since = time.Time{}
	}
}

// reading is what the system's clocks show.
func (d *device) reading() clock.Reading {
	now := d.now()
	return clock.Reading{Wall: now.Add(time.Duration(d.wall.Load())), Boot: now.Sub(d.booted), BootID: strconv.Itoa(d.boots)}
}

// boot starts the agent.
func (d *device) boot() {
	d.boots++
	d.booted = d.now()
	d.wall.Store(int64(d.wrongBy()))
	d.died, d.stopped = make(chan struct{}), make(chan struct{})
	fsys := mortal{d.disk, d}
	d.clock = &clock.Clock{Path: "cred/time.floor", FS: fsys, Read: d.reading, Built: d.built}
	if d.omit == "floor" {
		d.clock.Path, d.clock.Built = "", time.Time{}
	}
	d.clock.Load()
	rng := rand.New(rand.NewPCG(d.seed, uint64(d.boots)))
	d.keeper = &Keeper{
		Login:     d.call,
		WriteBack: func(tok Token) error { return atomicfile.WriteFS(fsys, confFile, []byte(tok.Raw()), 0o600) },
		Store:     &Store{Dir: "cred", FS: fsys}, Names: DefaultNames, Schedule: DefaultSchedule,
		Now: d.clock.Now, Known: d.clock.Learned, NotBefore: d.clock.NotBefore, Rand: rng.Float64, Log: slog.New(slog.DiscardHandler),
	}
	switch d.omit {
	case "offset":
		d.keeper.Now = func() time.Time { s, r := d.clock.State(); return s.System(r) }
	case "two slots":
		d.keeper.rotate = func(s slots, _, fresh Token) slots { return slots{Cur: fresh, Seen: s.Seen} }
	}
	var ctx context.Context
	ctx, d.stop = context.WithCancel(context.Background())
	d.offer()
	session := make(chan struct{})
	go func() { defer close(session); d.session(ctx) }()
	go func() { _ = d.keeper.Run(ctx); <-session; close(d.stopped) }()
	d.locked(d.reach)
}

// halt ends the agent: in order, or by a power cut.
func (d *device) halt(cut bool) {
	lies := 0
	if d.disk.Off() { // in the middle of a write: its newest sync may be lost in the medium's cache
		lies = 20
	} else if cut {
		d.disk.CutAt(1)
	}
	d.locked(d.reach)
	d.stop()
	<-d.stopped
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keeper = nil
	d.reach()
	if d.disk.Off() {
		d.disk = d.disk.Cut(d.rng, lies)
	}
}

func (d *device) locked(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

var errNoNetwork = errors.New("network is unreachable")

// call is a login by the agent.
func (d *device) call(ctx context.Context, tok Token) (raw string, err error) {
	err = d.clock.Try(func() error {
		wait := time.NewTimer(time.Duration(d.seed%2000) * time.Millisecond)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		raw, err = d.ask(tok)
		return err
	})
	if answered := err == nil || errors.As(err, new(httpError)); answered {
		d.clock.Learn(d.now().Truncate(time.Second), 0)
	}
	return raw, err
}

func (d *device) ask(tok Token) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on() || !d.linked {
		return "", errNoNetwork
	}
	if err := d.handshake(d.clock.TLSTime()); err != nil {
		return "", err
	}
	return d.login(tok.Raw())
}

// session uses each token once, as a connection to the broker does.
func (d *device) session(ctx context.Context) {
	for {
		tok, superseded, err := d.keeper.Current(ctx)
		if err != nil {
			return
		}
		again := 5 * time.Minute
		d.mu.Lock()
		connected := d.on() && d.linked && d.episode != "silent" && d.noise(d.now()) != 4 && d.handshake(d.clock.TLSTime()) == nil
		accepted := d.usable(tok.Raw())
		d.mu.Unlock()
		switch {
		case connected && accepted:
			d.keeper.Prove(tok)
			again = 12 * time.Hour
		case connected:
			d.keeper.Reject(tok, statusError{code: 401})
		}
		timer := time.NewTimer(again)
		select {
		case <-superseded:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Stop()
	}
}
