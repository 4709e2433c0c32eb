//go:build integration

// Package datafiles runs the built agent against what can happen to data files:
// kills, errors of the cloud, rotations of logs, and a hostile drop box.
package datafiles

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
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

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

const settings = `[paths]
identity = %[1]s/etc/spoke-zone.conf
state    = %[1]s/state
run      = %[1]s/run
spool    = %[1]s/spool
[cloud]
url     = %[2]s
ca_file = %[1]s/ca.pem
timeout = 10s
[mqtt]
broker = %[3]s
[telemetry]
location_source = off
[upload]
max_spool = 8GiB
[local]
group =
`

// A gateway is a directory with all that the agent has on a device, and a cloud
// of its own.
type gateway struct {
	t     *testing.T
	dir   string
	cloud *cloudtest.Cloud
	log   *os.File
	cmd   *exec.Cmd
	via   []string // what starts the agent, before its own arguments
	kills int
}

func newGateway(t *testing.T, random *rand.Rand, more string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir()}
	g.cloud = cloudtest.New(cloudtest.Options{Seed: random.Uint64()})
	t.Cleanup(g.cloud.Close)
	addrs, err := g.cloud.Listen(cloudtest.Listeners{TLS: true})
	g.must(err)
	device := g.cloud.AddDevice(cloudtest.Device{ID: 4711})
	for _, dir := range []string{"etc", "state", "run", "spool/log", "log"} {
		g.must(os.MkdirAll(g.path(dir), 0o755))
	}
	binary, err := os.ReadFile("../../build/spoke-zone-agent")
	if err != nil {
		t.Fatalf("%v (make build comes first)", err)
	}
	// A copy of its own, which shares memory with no other agent that runs.
	g.must(os.WriteFile(g.path("agent"), binary, 0o755))
	for name, text := range map[string]string{
		"ca.pem":              string(g.cloud.CA()),
		"agent.conf":          fmt.Sprintf(settings+more, g.dir, addrs.API, addrs.MQTT),
		"etc/spoke-zone.conf": fmt.Sprintf("[general]\ndevice_id = %d\ncpu_id = %s\nuuid = %s\n[mqtt]\nmqtt_username = %s\n", device.ID, device.CPUID, device.UUID, g.cloud.Issue(device.ID, 0)),
	} {
		g.must(os.WriteFile(g.path(name), []byte(text), 0o600))
	}
	g.log, err = os.Create(g.path("agent.log"))
	g.must(err)
	t.Cleanup(func() {
		g.kill()
		g.log.Close()
		if text, _ := os.ReadFile(g.path("agent.log")); t.Failed() {
			t.Logf("the agent said:\n%s", text[max(0, len(text)-6000):])
		}
	})
	return g
}

func (g *gateway) path(name string) string { return filepath.Join(g.dir, name) }

func (g *gateway) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) start() {
	g.t.Helper()
	args := append(append([]string{}, g.via...), g.path("agent"), "run", "--config", g.path("agent.conf"))
	g.cmd = exec.Command(args[0], args[1:]...)
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	g.must(g.cmd.Start())
}

// kill is kill -9.
func (g *gateway) kill() {
	if g.cmd == nil {
		return
	}
	_ = g.cmd.Process.Kill() // it may have ended
	_ = g.cmd.Wait()
	g.cmd = nil
	g.kills++
}

// stop ends the agent politely.
func (g *gateway) stop() {
	g.t.Helper()
	g.must(g.cmd.Process.Signal(syscall.SIGTERM))
	if err := g.cmd.Wait(); err != nil {
		g.t.Errorf("the agent ended with %v", err)
	}
	g.cmd = nil
}

func (g *gateway) status() (s local.Status) {
	if out, err := exec.Command(g.path("agent"), "status", "--json", "--config", g.path("agent.conf")).Output(); err == nil {
		_ = json.Unmarshal(out, &s)
	}
	return s
}

// until waits for what must come; only a failure waits the time out.
func (g *gateway) until(what string, within time.Duration, holds func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("never: %s; status %+v", what, g.status().Upload)
		}
	}
}

// left names the files that the agent has yet to deal with, in the drop box,
// the spool and the quarantine.
func (g *gateway) left() (names []string) {
	for _, dir := range []string{"spool", "state/upload/spool", "state/upload/quarantine"} {
		_ = filepath.WalkDir(g.path(dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() != ".lock" {
				names = append(names, path)
			}
			return nil
		})
	}
	return names
}

// Bounds of memory, in MB. The goal is for all that is resident, the agent's
// share of the program's file among it. That part cannot be asserted: it is page
// cache, of which the kernel keeps as much as nobody else needs, reads ahead as
// it likes, and takes it back without the agent's doing. What the agent has of
// its own (heap, stacks, changed data) is its doing alone, and is what hostile
// files would make grow: that is asserted, with the file's part logged beside it.
const (
	goal   = 16
	mayOwn = 8
)

// A footprint is memory in MB: what is the agent's alone, and all that is
// resident.
type footprint struct{ anonymous, resident float64 }

func (f footprint) String() string {
	return fmt.Sprintf("%.1f MB of its own, of at most %d, and %.1f MB resident with the program's file, the goal being %d", f.anonymous, mayOwn, f.resident, goal)
}

// judge wants a footprint that was measured, and within its bounds.
func (f footprint) judge(t *testing.T) {
	t.Helper()
	t.Logf("memory: at most %v", f)
	if f.anonymous > mayOwn || f.anonymous <= 0 || f.resident < f.anonymous {
		t.Errorf("memory: %v", f)
	}
}

// memory samples what the agent has until stop is called, which returns the
// most of each.
func (g *gateway) memory() (stop func() footprint) {
	done, most := make(chan struct{}), make(chan footprint)
	name := fmt.Sprintf("/proc/%d/smaps_rollup", g.cmd.Process.Pid)
	go func() {
		var peak footprint
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			text, _ := os.ReadFile(name)
			peak.anonymous = max(peak.anonymous, megabytes(text, "Anonymous"))
			peak.resident = max(peak.resident, megabytes(text, "Pss"))
			select {
			case <-done:
				most <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() footprint { close(done); return <-most }
}

// megabytes reads a field of proc_pid_smaps(5).
func megabytes(text []byte, field string) float64 {
	_, rest, ok := bytes.Cut(text, []byte("\n"+field+":"))
	if !ok {
		return 0
	}
	kib, _ := strconv.ParseFloat(strings.Fields(string(rest))[0], 64)
	return kib * 1024 / 1e6
}

// A weather makes a share of the requests fail: as Spoke Zone's gateway answers,
// with a word of when to come again.
type weather struct {
	mu     sync.Mutex
	rand   *rand.Rand
	share  float64
	errors int
}

func (w *weather) answer(rw http.ResponseWriter, r *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !strings.Contains(r.URL.Path, "/data-files") || w.rand.Float64() >= w.share {
		return false
	}
	w.errors++
	rw.Header().Set("Retry-After", "1")
	http.Error(rw, "upstream connect error", http.StatusServiceUnavailable)
	return true
}

func (w *weather) set(share float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.share = share
}

// full is a number from the environment, for the long form of a test.
func full(name string, short int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return short
}

func newRandom(t *testing.T) *rand.Rand {
	seed := uint64(full("SEED", 0))
	if seed == 0 {
		seed = rand.Uint64() >> 1
	}
	t.Logf("SEED=%d repeats it", seed)
	return rand.New(rand.NewPCG(seed, 8))
}
