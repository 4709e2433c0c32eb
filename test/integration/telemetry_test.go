//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/test/peers"
)

// field is a gateway at real brokers, with settings of its own.
func field(t *testing.T, settings string) (g *gateway, c *cloud, broker *peers.Mosquitto, messages func() string) {
	t.Helper()
	dir := t.TempDir()
	certs, err := peers.NewCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	factory := newToken(time.Hour) // may be renewed at once
	broker, err = peers.StartMosquitto(dir, certs, map[string]string{factory: password, watcher: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	c = &cloud{t: t, token: factory, released: "1.0.0", uploads: map[int][]byte{}}
	c.onRenew = func(_, token string) error { // the token before is worth nothing from now on
		return broker.Admit(map[string]string{token: password, watcher: password})
	}
	app := httptest.NewServer(c.handler())
	t.Cleanup(app.Close)
	web, err := peers.StartNginx(dir, certs, dir, app.Listener.Addr().String(), "0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(web.Stop)
	messages = watch(t, broker, certs)
	g = newGateway(t, factory, web.Addr, broker.Addr, certs.CA)
	if err := os.Mkdir(g.path("agent.conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	g.write("agent.conf.d/test.conf", settings, 0o644)
	g.command("check")
	return g, c, broker, messages
}

func TestLocationFromARealGPSD(t *testing.T) {
	gpsd, err := peers.StartGPSD(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gpsd.Stop)
	g, _, _, messages := field(t, "[telemetry]\nlocation_source = gpsd:"+gpsd.Addr+"\nlocation_interval = 1s\n")
	g.start()
	const topic = "mrs/d/4711/mon/location "
	eventually(t, "two locations at the broker", func() bool { return strings.Count(messages(), topic) >= 2 }, messages)
	for line := range strings.Lines(messages()) {
		text, ok := strings.CutPrefix(line, topic)
		if !ok {
			continue
		}
		var place struct{ Lat, Lon, Heading, Speed *float64 }
		if err := json.Unmarshal([]byte(text), &place); err != nil || place.Lat == nil || place.Lon == nil || place.Heading == nil || place.Speed == nil {
			t.Fatalf("%q: %v", text, err)
		}
		if *place.Lat < 44.06 || *place.Lat > 44.08 || math.Abs(*place.Lon+93.1) > 1e-6 || *place.Heading != 90 || math.Abs(*place.Speed-5.14) > 0.01 {
			t.Errorf("place %q", text)
		}
	}
	g.until("a fix in the status", func(s local.Status) bool { return s.Location.Fix && s.Location.Source == "gpsd:"+gpsd.Addr })
	g.stop()
}

// A program that speaks plain MQTT to a Mosquitto on the gateway goes on doing
// so while the token changes. Mosquitto 2.0 leaves a bridge as it is on SIGHUP:
// it is ended after each change of its settings, and started again.
func TestBridgeOfARealMosquitto(t *testing.T) {
	dir := t.TempDir()
	include := filepath.Join(dir, "include")
	if err := os.Mkdir(include, 0o755); err != nil {
		t.Fatal(err)
	}
	addr, err := peers.FreeAddr() // also while Mosquitto is away
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(dir, "mosquitto.conf")
	err = os.WriteFile(conf, fmt.Appendf(nil, "user root\npid_file %[1]s/pid\npersistence true\npersistence_location %[1]s/\nlistener %[2]s 127.0.0.1\nallow_anonymous true\ninclude_dir %[3]s\n",
		dir, port, include), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	g, c, _, messages := field(t, fmt.Sprintf("[bridge]\nfile = %s/bridge.conf\nnotify = signal:%s/pid:TERM\n", include, dir))
	g.start()
	first := g.until("the bridge's settings", func(s local.Status) bool { return s.Bridge != nil && !s.Bridge.Written.IsZero() })

	keeper := exec.Command("sh", "-c", `while :; do mosquitto -c "$0"; done`, conf)
	keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-keeper.Process.Pid, syscall.SIGTERM)
		_ = keeper.Wait()
	})
	publish := func(payload string) bool {
		return exec.Command("mosquitto_pub", "-h", "127.0.0.1", "-p", port, "-q", "1", "-i", "door", "-t", "mon/door", "-m", payload).Run() == nil
	}
	through := func(payload string) {
		t.Helper()
		eventually(t, "a message of a local program at the cloud", func() bool {
			return publish(payload) && strings.Contains(messages(), "mrs/d/4711/mon/door "+payload)
		}, messages)
	}
	through("before")
	g.command("renew")
	var second string
	c.seen(func() { second = c.token })
	if tail(second) == first.Token.Tail {
		t.Fatal("the token was not renewed")
	}
	g.until("the new token in the bridge's settings", func(local.Status) bool {
		text, err := os.ReadFile(filepath.Join(include, "bridge.conf"))
		return err == nil && strings.Contains(string(text), "remote_username "+second+"\n")
	})
	through("afterwards")
	info, err := os.Stat(filepath.Join(include, "bridge.conf"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	g.stop()
	if log := g.read("agent.log"); strings.Contains(log, second) {
		t.Error("the log holds a token")
	}
}
