package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/upload"
	"github.com/spoke-zone/spoke-zone-agent/conf"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

func TestRunTasks(t *testing.T) {
	forever := func(ctx context.Context) error { <-ctx.Done(); return nil }
	boom := errors.New("boom")
	for _, tt := range []struct {
		name  string
		tasks []Task
		want  error
	}{
		{"an error ends all", []Task{{"a", forever}, {"b", func(context.Context) error { return boom }}}, boom},
		{"an early end is an error", []Task{{"a", forever}, {"b", func(context.Context) error { return nil }}}, ErrEnded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := RunTasks(t.Context(), slog.New(slog.DiscardHandler), tt.tasks...); !errors.Is(err, tt.want) {
				t.Fatal(err)
			}
		})
	}
}

// A gateway is the spine of an agent on a disk of its own, in a bubble.
type gateway struct {
	cloud     *cloudtest.Cloud
	device    cloudtest.Device
	dir       string
	conf      conf.Config
	boot      time.Time
	log       slog.Handler  // slog.DiscardHandler if nil
	disk      atomicfile.FS // of the stored tokens; atomicfile.OS if nil
	policy    string        // install.conf
	installer ota.Installer // that of the policy if nil

	starts []time.Time
	g      *generation
	cancel context.CancelFunc
	done   chan error
}

func newGateway(t *testing.T, cloud *cloudtest.Cloud) *gateway {
	t.Helper()
	gw := &gateway{cloud: cloud, dir: t.TempDir(), conf: conf.Default(), boot: time.Now()}
	gw.device = cloud.AddDevice(cloudtest.Device{CPUID: "0a1b2c3d", UUID: "6f1c", Modules: []string{"display"}})
	addrs := cloudtest.MemoryTLSAddrs
	gw.conf.Cloud.URL, gw.conf.MQTT.Broker = addrs.API, addrs.MQTT
	gw.conf.Cloud.CAFile = gw.write(t, "ca.pem", string(cloud.CA()))
	gw.conf.Paths.State = filepath.Join(gw.dir, "state")
	gw.conf.Paths.Spool = filepath.Join(gw.dir, "spool")
	gw.conf.Paths.Run = filepath.Join(gw.dir, "run")
	gw.conf.Paths.Identity = gw.write(t, "spoke-zone.conf", fmt.Sprintf(
		"# made by the factory\n[device]\ncpu_id = %s\nuuid = %s\nmqtt_username = %s\nmqtt_password = x\n",
		gw.device.CPUID, gw.device.UUID, cloud.Issue(gw.device.ID, 0)))
	gw.conf.Modules = []conf.Module{{Key: "display", VersionFile: gw.write(t, "version", "1.2.3\n"), Policy: "fetch"}}
	return gw
}

func (gw *gateway) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(gw.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (gw *gateway) start(t *testing.T) {
	t.Helper()
	log := slog.DiscardHandler
	if gw.log != nil {
		log = gw.log
	}
	r := &runner{tokens: account.Store{FS: gw.disk}, commands: newCommands(slog.New(log)), Options: Options{
		InstallPolicy: gw.policy, Version: "test", Log: slog.New(log), Dial: gw.cloud.DialContext, Built: gw.boot.Add(-time.Hour),
		ReadClock: func() clock.Reading {
			return clock.Reading{Wall: time.Now(), Boot: time.Since(gw.boot), BootID: "1"}
		},
	}}
	r.keepLog()
	s, err := complete(gw.conf)
	if err != nil {
		t.Fatal(err)
	}
	g, err := r.assemble(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	if gw.installer != nil {
		g.updates.Installer = gw.installer
	}
	gw.starts = append(gw.starts, time.Now())
	gw.g, gw.done = g, make(chan error, 1)
	var ctx context.Context
	ctx, gw.cancel = context.WithCancel(context.Background())
	g.readIdentity()
	go func() { gw.done <- RunTasks(ctx, g.Log, g.spine()...) }()
}

func (gw *gateway) stop(t *testing.T) {
	t.Helper()
	gw.cancel()
	if err := <-gw.done; err != nil {
		t.Fatal(err)
	}
	gw.g.api.HTTP.CloseIdleConnections()
}

// parts are what the status line is made of.
func (gw *gateway) parts() (account.Status, mqtt.Status, upload.Status) {
	tok, _ := gw.g.keeper.Status()
	session, _ := gw.g.session.Status()
	uploads, _ := gw.g.uploads.Status()
	return tok, session, uploads
}

// usable reports whether the token in use is one that the cloud takes.
func (gw *gateway) usable() bool {
	s, _ := gw.g.keeper.Status()
	return !s.Token.IsZero() && gw.cloud.Now().Before(gw.cloud.Expires(s.Token.Raw()))
}

func TestSixtyDaysOfAGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		cloud.MustSet(cloudtest.ServerError, cloudtest.Every(5).On("login"))
		gw.start(t)
		var reachable time.Duration
		for hour := range 60 * 24 {
			switch {
			case hour == 20*24 || hour == 41*24: // a reboot
				gw.stop(t)
				gw.start(t)
			case hour%(9*24) == 6*24: // 30 h without a network, across the window's opening
				cloud.MustSet(cloudtest.Unreachable, cloudtest.Share(1))
				cloud.Drop()
				reachable = 0
			case hour%(9*24) == 6*24+30:
				cloud.MustSet(cloudtest.Unreachable, cloudtest.Switch{})
			}
			if cut := hour%(9*24) >= 6*24 && hour%(9*24) < 6*24+30; !cut {
				reachable += time.Hour
			}
			time.Sleep(time.Hour)
			if !gw.usable() && reachable > time.Hour {
				t.Fatalf("hour %d: no usable token although the cloud could be reached for %v: %+v", hour, reachable, gw.g.status().Token)
			}
			if s := gw.g.status(); reachable > time.Hour && s.MQTT.State != "online" {
				t.Fatalf("hour %d: mqtt %+v", hour, s.MQTT)
			}
		}
		gw.stop(t)
		renewed := 0
		for i, l := range cloud.Logins() {
			// After a start the cloud may be asked once, because the time is not known.
			first := slices.ContainsFunc(gw.starts, func(start time.Time) bool { return l.At.Sub(start).Abs() < 3*time.Minute })
			if left := cloud.Expires(l.Token).Sub(l.At); !first && left > cloudtest.DefaultWindow+time.Minute || left < -cloudtest.DefaultGrace {
				t.Errorf("login %d at %v, %v before the token's expiry", i, l.At, left)
			}
			if l.Given != "" {
				renewed++
			}
		}
		if renewed < 8 {
			t.Errorf("%d renewals in 60 days", renewed)
		}
		if got := cloud.Versions(gw.device.ID)["display"]; got != "1.2.3" {
			t.Errorf("the cloud knows version %q", got)
		}
		t.Logf("%d renewals in %d logins, %d connects", renewed, len(cloud.Logins()), len(cloud.Connects()))
	})
}
