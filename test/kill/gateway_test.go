//go:build integration

package kill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

const (
	releaseSize = 5 << 20
	checkpoint  = 4 << 20 // of the download, at the rate of the settings
	block       = 256 << 10
	overlap     = 64 << 10 // asked for again where the server names no validator
)

// identityText is a file as the factory writes it. Every byte but the token's
// must stay.
const identityText = `# Spoke Zone device configuration, written at the factory. Do not edit.
[general]
device_id     = %d
cpu_id        = %s
uuid          = %s

[mqtt]
mqtt_username = %s
mqtt_password = gibberish   ; not looked at
`

// settingsText has a token renewed at the start and every few seconds then: its
// window is longer than its life.
const settingsText = `[paths]
identity = %[1]s/etc/spoke-zone.conf
state    = %[1]s/state
run      = %[1]s/run
spool    = %[1]s/spool
[cloud]
url      = %[2]s
ca_file  = %[1]s/ca.pem
timeout  = 5s
[token]
renew_before = 150s
spread       = 0s
[mqtt]
broker = %[3]s
[telemetry]
versions_interval = 1s
[ota]
check_interval = 1s
rate_limit     = 1536KiB
[module.display]
version_file = %[1]s/version
policy       = fetch
[local]
group =
`

// A gateway is a directory with all that the agent has on a device, and a cloud
// of its own. It notes what is wrong; nothing but a broken test stops it.
type gateway struct {
	t      *testing.T
	name   string
	rand   *rand.Rand
	cloud  *cloudtest.Cloud
	device cloudtest.Device
	dir    string
	client *local.Client
	log    *os.File

	files   files
	lives   []life
	release release
	part    part // as the last kill left it
	newest  held // tokens that were on disk then
	seen    int  // events that were looked at
	tally   tally

	mu   sync.Mutex
	asks []ask // for releases, in this life
}

// A life is one run of the agent.
type life struct{ from, to time.Time }

// An ask is a request for the bytes of a release.
type ask struct {
	id   int
	from int64
}

// A tally is what the report tells.
type tally struct {
	kills, renewals, unstored, unwritten  int
	fetched, interrupted                  int
	refetched, most, wasted               int64
	dropped, added, unsure, twice, orphan int
}

func (a *tally) add(b tally) {
	a.kills += b.kills
	a.renewals += b.renewals
	a.unstored += b.unstored
	a.unwritten += b.unwritten
	a.fetched += b.fetched
	a.interrupted += b.interrupted
	a.refetched += b.refetched
	a.most = max(a.most, b.most)
	a.wasted += b.wasted
	a.dropped += b.dropped
	a.added += b.added
	a.unsure += b.unsure
	a.twice += b.twice
	a.orphan += b.orphan
}

func (a tally) String() string {
	return fmt.Sprintf("%d kills; %d renewals, %d cut before the disk, %d between the record and the identity file; %d releases of %d MiB, fetches resumed %d times, %d KiB stored and fetched again (at most %d KiB at once), %d KiB sent more than once in all; "+
		"%d files dropped and %d added (%d more added without an answer), contents sent twice under one id %d times, %d ids without contents",
		a.kills, a.renewals, a.unstored, a.unwritten, a.fetched, releaseSize>>20, a.interrupted, a.refetched>>10, a.most>>10, a.wasted>>10, a.dropped, a.added, a.unsure, a.twice, a.orphan)
}

func newGateway(t *testing.T, name string, random *rand.Rand) *gateway {
	t.Helper()
	broker, err := cloudtest.NewMochi()
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, name: name, rand: random, dir: t.TempDir(), newest: held{file: -1, state: -1}}
	g.cloud = cloudtest.New(cloudtest.Options{TokenLife: 2 * time.Minute, Window: 24 * time.Hour, Broker: broker, Seed: random.Uint64()})
	t.Cleanup(g.cloud.Close)
	addrs, err := g.cloud.Listen(cloudtest.Listeners{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	g.device = g.cloud.AddDevice(cloudtest.Device{ID: 4711, Modules: []string{"display"}, Shape: cloudtest.Shape{NoIssuedAt: true}})
	g.cloud.Intercept(g.note)
	g.newest.factory = g.cloud.Issue(g.device.ID, 0)
	for _, dir := range []string{"etc", "state", "run", "spool/log", "spool/event/display"} {
		if err := os.MkdirAll(g.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"ca.pem": string(g.cloud.CA()), "version": "1.0.0\n",
		"agent.conf":          fmt.Sprintf(settingsText, g.dir, addrs.API, addrs.MQTT),
		"etc/spoke-zone.conf": g.identity(g.newest.factory),
	} {
		if err := os.WriteFile(g.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.client = &local.Client{Socket: g.path("run/agent.sock")}
	if g.log, err = os.Create(g.path("agent.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.log.Close() })
	g.offer()
	return g
}

func (g *gateway) path(name string) string { return filepath.Join(g.dir, name) }

func (g *gateway) identity(token string) string {
	return fmt.Sprintf(identityText, g.device.ID, g.device.CPUID, g.device.UUID, token)
}

func (g *gateway) errorf(format string, args ...any) {
	g.t.Errorf("%s, life %d: %s", g.name, len(g.lives), fmt.Sprintf(format, args...))
}

// note sees each request before the cloud answers it.
func (g *gateway) note(_ http.ResponseWriter, r *http.Request) bool {
	rest, isFile := strings.CutPrefix(r.URL.Path, "/api/v2/ota-files/")
	id, err := strconv.Atoi(strings.TrimSuffix(rest, "/file"))
	if !isFile || err != nil {
		return false
	}
	a := ask{id: id}
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &a.from)
	g.mu.Lock()
	g.asks = append(g.asks, a)
	g.mu.Unlock()
	return false
}

// live runs the agent and kills it so many times, and then lets it finish.
func (g *gateway) live(kills int) {
	for n := range kills {
		ended, err := g.run(g.instant(), n)
		if err != nil {
			g.errorf("%v\n%s", err, g.tail())
			return
		}
		g.tally.kills++
		g.lives[len(g.lives)-1].to = ended
		g.inspect()
		if g.t.Failed() {
			g.t.Logf("%s: the agent said:\n%s", g.name, g.tail())
			return
		}
	}
	g.finish()
	if g.t.Failed() {
		g.t.Logf("%s: the agent said:\n%s", g.name, g.tail())
	}
}

// An instant is when to kill: some time after the start, or after an event.
type instant struct {
	event string // kind, or operation of a request
	after time.Duration
}

// patience is how long an event is waited for.
const patience = 2 * time.Second

// instant draws one. Half of them meet the start, with its renewal, its
// write-back and what was left to do; a quarter the instants after an answer,
// before its news are on disk; the rest a download under way.
func (g *gateway) instant() instant {
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(g.rand.Int64N(int64(to-from))) }
	events := []string{"login", "data-create", "data-put", "connect"}
	switch u := g.rand.Float64(); {
	case u < 0.5:
		return instant{after: between(10*time.Millisecond, 400*time.Millisecond)}
	case u < 0.75:
		return instant{event: events[g.rand.IntN(len(events))], after: between(0, 8*time.Millisecond)}
	}
	return instant{after: between(400*time.Millisecond, 4500*time.Millisecond)}
}

// wait returns at the instant, or when ctx is done.
func (g *gateway) wait(ctx context.Context, at instant) {
	if at.event != "" {
		_, last := g.events()
		patient, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, _ = g.cloud.WaitFor(patient, last, func(e cloudtest.Event) bool { return e.Kind == at.event || e.Op == at.event })
	}
	timer := time.NewTimer(at.after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// events returns what has happened since it was asked last, and the number of
// the newest event.
func (g *gateway) events() ([]cloudtest.Event, int) {
	events, _ := g.cloud.Events(g.seen)
	if len(events) == 0 {
		return nil, g.seen
	}
	return events, events[len(events)-1].Seq
}

// run is one life, with programs beside the agent that drop files and hand
// them over. It returns when the agent is dead.
func (g *gateway) run(at instant, n int) (ended time.Time, err error) {
	cmd, err := g.start()
	if err != nil {
		return ended, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var side errgroup.Group
	side.Go(func() error { return g.drop(ctx, n) })
	side.Go(func() error { return g.add(ctx, n) })
	var exit error
	side.Go(func() error {
		defer cancel() // nobody waits for a dead agent
		exit = cmd.Wait()
		ended = time.Now()
		return nil
	})
	g.wait(ctx, at)
	early := ctx.Err() != nil
	_ = cmd.Process.Kill() // it may have ended
	err = side.Wait()
	g.settle()
	if early {
		return ended, fmt.Errorf("the agent ended by itself: %v", exit)
	}
	return ended, err
}

// settle waits until the cloud has dealt with what the dead agent had sent, so
// that nothing of this life is taken for the next one's.
func (g *gateway) settle() {
	for deadline := time.Now().Add(time.Minute); g.cloud.Connected() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			g.errorf("the cloud still has connections of a dead agent")
			return
		}
	}
}

func (g *gateway) start() (*exec.Cmd, error) {
	binary, err := filepath.Abs("../../build/spoke-zone-agent")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "run", "--config", g.path("agent.conf"))
	cmd.Stdout, cmd.Stderr = g.log, g.log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // nothing of a service manager's
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	g.lives = append(g.lives, life{from: time.Now()})
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w (make build comes first)", err)
	}
	return cmd, nil
}

// tail is the end of the agent's log.
func (g *gateway) tail() string {
	b, err := os.ReadFile(g.path("agent.log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-6000):])
}

// finish lets the agent do what is left, undisturbed, and ends it politely.
func (g *gateway) finish() {
	for name := range g.cloud.Switches() {
		g.cloud.MustSet(name, cloudtest.Off)
	}
	cmd, err := g.start()
	if err != nil {
		g.errorf("%v", err)
		return
	}
	done := func() bool { return g.delivered() && g.leftInSpool() == "" && g.ready() }
	for deadline := time.Now().Add(2 * time.Minute); !done() && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	if !g.ready() {
		g.errorf("the release %s is never ready", g.release.version)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	if err := cmd.Wait(); err != nil {
		g.errorf("the agent ended with %v", err)
	}
	g.lives[len(g.lives)-1].to = time.Now()
	g.inspect()
	g.audit()
}

// offer puts the next release into the catalogue.
func (g *gateway) offer() {
	g.release.number++
	g.release.version = fmt.Sprintf("1.0.%d", g.release.number)
	content := cloudtest.Seeded(g.rand.Uint64(), releaseSize)
	var err error
	if _, g.release.sha256, err = cloudtest.Digest(content); err != nil {
		g.t.Fatal(err)
	}
	g.release.id = g.cloud.Offer("display", g.release.version, content)
}

// A release is the newest on offer.
type release struct {
	number  int
	id      int
	version string
	sha256  string
}

// files are what local programs have handed over, by their contents.
type files struct {
	mu      sync.Mutex
	certain map[string]bool // the agent owns them
	unsure  map[string]bool // the agent died before it said so
}

func (f *files) put(m *map[string]bool, content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *m == nil {
		*m = map[string]bool{}
	}
	(*m)[content] = true
}

// drop puts files into the drop box, as its manual says: with a name that is
// not taken, and a rename.
func (g *gateway) drop(ctx context.Context, n int) error {
	for i := range 3 {
		name := fmt.Sprintf("drop-%d-%d.log", n, i)
		content := text(name, 20+n*137%9000)
		box := g.path([]string{"spool/log", "spool/event/display"}[i%2])
		tmp := filepath.Join(box, "."+name)
		if err := os.WriteFile(tmp, []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Rename(tmp, filepath.Join(box, name)); err != nil {
			return err
		}
		g.files.put(&g.files.certain, content)
		g.tally.dropped++
		g.wait(ctx, instant{after: 30 * time.Millisecond})
	}
	return nil
}

// add hands files to the local API while the agent lives.
func (g *gateway) add(ctx context.Context, n int) error {
	for i := 0; i < 4 && ctx.Err() == nil; {
		name := fmt.Sprintf("add-%d-%d.txt", n, i)
		content := text(name, 50+n*211%20000)
		_, err := g.client.Upload(ctx, "txt", "", name, int64(len(content)), strings.NewReader(content))
		var refused *local.Error
		switch {
		case err == nil:
			g.files.put(&g.files.certain, content)
			g.tally.added++
			i++
		case errors.Is(err, local.ErrNotRunning):
			g.wait(ctx, instant{after: 5 * time.Millisecond}) // not yet
		case errors.As(err, &refused):
			return fmt.Errorf("upload of %s: %w", name, err)
		default: // the agent died meanwhile
			g.files.put(&g.files.unsure, content)
			i++
		}
	}
	return nil
}

// text is a file of about n bytes that no other has.
func text(name string, n int) string {
	return name + "\n" + strings.Repeat("2026-11-22T10:00:00Z engine 1 temperature 71.5 ok\n", n/50)
}
