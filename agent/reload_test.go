package agent

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func TestCallWithAnExpiredTokenIsRepeatedWithANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.start(t)
		time.Sleep(time.Minute)
		first, _ := gw.g.keeper.Status()
		before := len(cloud.Logins())                           // one, if nothing else asked the cloud for the time sooner
		cloud.SetOffset(cloudtest.DefaultTokenLife + time.Hour) // what no clock of ours has heard of
		cloud.Offer("display", "2.0.0", cloudtest.Seeded(1, 1<<16))
		if _, err := gw.g.updates.Check(t.Context(), "display"); err != nil {
			t.Fatalf("check with a token that has expired: %v", err)
		}
		time.Sleep(time.Minute)
		s := gw.g.status()
		if second, _ := gw.g.keeper.Status(); second.Token.Same(first.Token) || !gw.usable() {
			t.Errorf("token %+v", s.Token)
		}
		if s.OTA[0].Phase != "READY" || s.MQTT.State != "online" {
			t.Errorf("ota %+v, mqtt %+v", s.OTA[0], s.MQTT)
		}
		if n := len(cloud.Logins()) - before; n != 1 {
			t.Errorf("%d logins for a check, a download and a session", n)
		}
		gw.stop(t)
	})
}

func TestBrokerThatRefusesGetsARenewedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{TokenLife: 10 * time.Hour})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		cloud.MustSet(cloudtest.RefuseConnect, cloudtest.Times(1))
		gw.start(t)
		time.Sleep(10 * time.Second)
		if s := gw.g.status(); s.MQTT.State != "online" || s.MQTT.Refusals != 1 || s.Token.Renewals != 1 {
			t.Errorf("mqtt %+v, token %+v", s.MQTT, s.Token)
		}
		gw.stop(t)
	})
}

func TestStatusSaysWhatAPersonMustKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.start(t)
		time.Sleep(time.Minute)
		s := gw.g.status()
		if s.Identity.DeviceID != fmt.Sprint(gw.device.ID) || s.Identity.Source != "token" || s.Token.State != "valid" ||
			!s.Token.Stored.State || !s.Token.Stored.IdentityFile || s.Clock.Source != "system" && s.Clock.Source != "server" || len(s.Problems) > 0 {
			t.Errorf("%+v", s)
		}
		if got := line(gw.parts()); !strings.HasPrefix(got, "online, token until ") {
			t.Errorf("status line %q", got)
		}
		gw.stop(t)
	})
}

// settingsOf writes gw's settings as a file.
func settingsOf(gw *gateway, t *testing.T, more string) string {
	return gw.write(t, "agent.conf", fmt.Sprintf(`[paths]
identity = %s
state = %s
run = %s
spool = %s
[cloud]
url = %s
ca_file = %s
[mqtt]
broker = %s
[local]
group =
[module.display]
version_file = %s
policy = notify
%s`, gw.conf.Paths.Identity, gw.conf.Paths.State, gw.conf.Paths.Run, gw.conf.Paths.Spool, gw.conf.Cloud.URL,
		gw.conf.Cloud.CAFile, gw.conf.MQTT.Broker, gw.conf.Modules[0].VersionFile, more))
}

func TestReload(t *testing.T) {
	cloud := cloudtest.New(cloudtest.Options{})
	defer cloud.Close()
	gw := newGateway(t, cloud)
	gw.dir = shortDir(t) // a socket's path has at most 108 bytes
	gw.conf.Paths.Run = gw.dir
	path := settingsOf(gw, t, "")
	ctx, cancel := context.WithCancel(t.Context())
	done, reload := make(chan error, 1), make(chan struct{})
	go func() {
		done <- Run(ctx, Options{ConfigPath: path, Version: "test", Log: slog.New(slog.DiscardHandler), Dial: cloud.DialContext, Reload: reload})
	}()
	client := &local.Client{Socket: filepath.Join(gw.dir, "agent.sock")}
	until := func(what string, good func(local.Status) bool) {
		t.Helper()
		var last local.Status
		for range 2400 { // two minutes, which only a failure waits out
			s, err := client.Status(ctx)
			if err == nil && good(s) {
				return
			}
			last = s
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%s: %+v", what, last)
	}
	until("online", func(s local.Status) bool { return s.MQTT.State == "online" && s.Settings.Generation == 1 })
	second := Run(ctx, Options{ConfigPath: path, Log: slog.New(slog.DiscardHandler), Dial: cloud.DialContext})
	if !errors.Is(second, ErrNotAlone) || !strings.Contains(second.Error(), gw.conf.Paths.State) {
		t.Errorf("a second agent with the same state ended with %v", second)
	}
	settingsOf(gw, t, "[ota]\ncheck_interval = 1h\n")
	until("a new generation", func(s local.Status) bool { return s.MQTT.State == "online" && s.Settings.Generation == 2 })
	settingsOf(gw, t, "[ota]\ncheck_interval = never\nfrequency = 7\n")
	until("both faults named, the old settings in force", func(s local.Status) bool {
		return s.Settings.Generation == 2 && strings.Contains(s.Settings.Error, "check_interval") && strings.Contains(s.Settings.Error, "frequency")
	})
	settingsOf(gw, t, "[ota]\ncheck_interval = 1h\n")
	until("no fault any more", func(s local.Status) bool { return s.Settings.Generation == 2 && s.Settings.Error == "" })
	other := httptest.NewTLSServer(nil)
	other.Close()
	both := append(gw.cloud.CA(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})...)
	if err := os.WriteFile(gw.conf.Cloud.CAFile, both, 0o600); err != nil {
		t.Fatal(err)
	}
	reload <- struct{}{}
	until("the new certificates under the same path", func(s local.Status) bool { return s.MQTT.State == "online" && s.Settings.Generation == 3 })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, l := range cloud.Logins() { // one may ask for the time, if nothing else did sooner
		if l.Given != "" {
			t.Errorf("reloading renewed the token: %+v", l.Status)
		}
	}
}

func TestRunRefusesFaultySettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.conf")
	if err := os.WriteFile(path, []byte("[cloud]\nurl = ftp://x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Options{ConfigPath: path, Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, ErrSettings) || !strings.Contains(err.Error(), "cloud.url") {
		t.Fatalf("got %v", err)
	}
}

func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "sz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
