package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/api"
	"github.com/spoke-zone/spoke-zone-agent/agent/capture"
	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
	"github.com/spoke-zone/spoke-zone-agent/agent/collect"
	"github.com/spoke-zone/spoke-zone-agent/agent/deliver"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/agent/telemetry"
	"github.com/spoke-zone/spoke-zone-agent/agent/upload"
	"github.com/spoke-zone/spoke-zone-agent/conf"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
	"github.com/spoke-zone/spoke-zone-agent/ota"
	"github.com/spoke-zone/spoke-zone-agent/systemd"
)

// A generation is the agent under one set of settings.
type generation struct {
	*runner
	conf   conf.Config
	number int

	clock    *clock.Clock
	api      *api.Client
	keeper   *account.Keeper
	accounts accounts
	session  *mqtt.Session
	versions *telemetry.Versions
	updates  *ota.Manager
	uploads  *upload.Uploader
	collect  *collect.Collector
	server   *local.Server

	diagnostics *telemetry.Control
	recorder    *capture.Recorder
	broadcast   *telemetry.Broadcast
	location    *telemetry.Location
	bridge      *deliver.Account // nil if there is none

	verdicts verdicts
	device   identity
	adopted  adoption
	troubles troubles
}

// assemble makes the parts and joins them. It starts nothing.
func (r *runner) assemble(s settings, number int) (*generation, error) {
	c := s.Config
	g := &generation{runner: r, conf: c, number: number}
	base, err := url.Parse(c.Cloud.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: cloud.url: %w", ErrSettings, err)
	}
	g.makeDirectories()
	g.troubles.set("confinement", r.beyond(c))
	g.clock = &clock.Clock{Path: filepath.Join(c.Paths.State, "cred", "time.floor"), Built: r.Built, Read: r.ReadClock, Log: r.Log.With("task", "clock")}
	g.clock.Load()
	trust := &tls.Config{RootCAs: s.roots, Time: g.clock.TLSTime}
	dialer, err := mqtt.NewDialer(c.MQTT.Broker, trust, c.Cloud.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: mqtt.broker: %w", ErrSettings, err)
	}
	dialer.NetDial = r.Dial

	g.api = &api.Client{
		Base: base, HTTP: api.NewHTTPClient(trust, c.Cloud.Timeout, r.Dial), Token: tokenOf,
		OnDate: g.clock.Learn, UserAgent: "spoke-zone-agent/" + r.Version, Timeout: c.Cloud.Timeout,
	}
	g.keeper = g.newKeeper()
	g.accounts.set(g.deviceAccount())
	g.diagnostics = g.newDiagnostics()
	g.recorder = g.newRecorder()
	g.followCommands()
	g.session = g.newSession(dialer)
	g.broadcast = g.newBroadcast()
	if g.location, err = g.newLocation(); err != nil {
		return nil, err
	}
	if g.bridge, err = g.newBridge(); err != nil {
		return nil, err
	}
	if g.updates, err = g.newUpdates(); err != nil {
		return nil, err
	}
	g.uploads = g.newUploads()
	g.collect = g.newCollector()
	g.versions = &telemetry.Versions{
		Every: c.Telemetry.VersionsInterval, Read: g.updates.Versions, Publish: g.publishVersions, Online: g.mayPublish,
		Alive: func() { r.alive.Alive("versions", 5*time.Minute) }, Log: r.Log.With("task", "versions"),
	}
	g.server = g.newServer()
	return g, nil
}

// run runs the parts until ctx is done or the settings change.
func (g *generation) run(ctx context.Context, changed <-chan struct{}) error {
	defer g.api.HTTP.CloseIdleConnections()
	watchIdentity := g.openIdentity() // before the first login, which needs what is in it
	systemd.Ready()
	return RunTasks(ctx, g.Log, append(g.spine(),
		Task{"identity", watchIdentity},
		Task{"accounts", g.optional("accounts", g.runAccounts)},
		Task{"upload", g.optional("upload", g.uploads.Run)},
		Task{"collect", g.optional("collect", g.collect.Run)},
		Task{"local", g.optional("local API", g.server.Run)},
		Task{"status line", g.statusLine},
		Task{"network", g.watchNetwork},
		Task{"diagnostics", g.diagnostics.Run},
		Task{"broadcast", g.broadcast.Run},
		Task{"recorder", g.recorder.Run},
		Task{"location", g.location.Run},
		Task{"bridge", g.keepBridge},
		Task{"settings", func(ctx context.Context) error {
			select {
			case <-changed:
				return errReload
			case <-ctx.Done():
				return nil
			}
		}},
	)...)
}

// spine is what a gateway cannot do without. It waits for nothing but time and
// the network.
func (g *generation) spine() []Task {
	return []Task{
		{"token", g.keeper.Run},
		{"mqtt", g.session.Run},
		{"versions", g.versions.Run},
		{"ota", g.optional("ota", g.updates.Run)},
	}
}

// makeDirectories makes what is missing of the agent's own directories. Where
// that fails the parts go on without, and say so.
func (g *generation) makeDirectories() {
	for _, dir := range []string{"cred", "ota", "outbox", "upload", "capture"} {
		err := os.MkdirAll(filepath.Join(g.conf.Paths.State, dir), 0o700)
		g.troubles.set("state/"+dir, err)
	}
}

// optional keeps the agent up when a part that it can do without ends with an
// error: an agent that is online can be helped.
func (g *generation) optional(name string, run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := run(ctx)
		if err == nil && ctx.Err() == nil {
			err = errors.New("ended early")
		}
		if ctx.Err() != nil {
			return nil
		}
		g.troubles.set(name, err)
		g.Log.Error("part of the agent is off until the next start", "task", name, "err", err)
		<-ctx.Done()
		return nil
	}
}

// troubles are what is wrong with parts that cannot say so themselves.
type troubles struct {
	mu   sync.Mutex
	text map[string]string
}

// set notes the trouble of a part, or its end if err is nil.
func (t *troubles) set(name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text == nil {
		t.text = map[string]string{}
	}
	if err == nil {
		delete(t.text, name)
		return
	}
	t.text[name] = name + ": " + err.Error()
}
