package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// A stage is the cloud, the agent and the screen.
type stage struct {
	cloud  *cloudtest.Cloud
	addrs  cloudtest.Addrs
	device cloudtest.Device
	agent  *agent
	screen *screen
	dir    string
	seq    int // of the event that the play has come to
	done   []outcome
}

// identityText is a file as the factory writes it.
const identityText = `# Spoke Zone device configuration, written at the factory. Do not edit.
[general]
device_id     = %d
cpu_id        = %s
uuid          = %s

[mqtt]
mqtt_username = %s
mqtt_password = gibberish   ; not looked at
`

const settingsText = `[paths]
identity = %[1]s/spoke-zone.conf
state    = %[1]s/state
run      = %[1]s/run
spool    = %[1]s/spool
[cloud]
url      = %[2]s
ca_file  = %[1]s/ca.pem
timeout  = 5s
[token]
renew_before = %[4]s
grace        = %[5]s
spread       = 2s
[mqtt]
broker     = %[3]s
[telemetry]
versions_interval = 10s
[ota]
rate_limit = %[6]dB
[module.display]
version_file = %[1]s/display.version
policy       = fetch
`

func newStage(dir, program string, out io.Writer) (*stage, error) {
	broker, err := cloudtest.NewMochi()
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, cloud: cloudtest.New(cloudtest.Options{TokenLife: tokenLife, Window: window, Grace: grace, Broker: broker})}
	if s.addrs, err = s.cloud.Listen(cloudtest.Listeners{TLS: true}); err != nil {
		s.cloud.Close()
		return nil, err
	}
	s.device = s.cloud.AddDevice(cloudtest.Device{ID: 4711, CPUID: "0A1B2C3D4E5F6071", UUID: "5f0c2d1e-8a4b-4c3d-9e6f-70615243a1b2", Modules: []string{"display"}})
	files := map[string]string{
		"ca.pem":          string(s.cloud.CA()),
		"display.version": "1.2.3\n",
		"spoke-zone.conf": fmt.Sprintf(identityText, s.device.ID, s.device.CPUID, s.device.UUID, s.cloud.Issue(s.device.ID, 0)),
		"agent.conf":      fmt.Sprintf(settingsText, dir, s.addrs.API, s.addrs.MQTT, window, grace, releaseRate),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			s.cloud.Close()
			return nil, err
		}
	}
	s.screen = &screen{out: out, start: time.Now()}
	s.agent = &agent{program: program, config: filepath.Join(dir, "agent.conf"), log: filepath.Join(dir, "agent.log")}
	return s, nil
}

func (s *stage) comesOnline(ctx context.Context) (string, error) {
	e, err := s.waitFor(ctx, "CONNECT", func(e cloudtest.Event) bool { return e.Kind == cloudtest.EventConnect && e.Status == 0 })
	if err != nil {
		return "", err
	}
	if _, err := s.waitFor(ctx, "SUBSCRIBE", func(e cloudtest.Event) bool { return e.Kind == cloudtest.EventSubscribe && e.Why == "" }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%.2f s after its start", e.At.Sub(s.screen.start).Seconds()), nil
}

func (s *stage) reportsVersion(ctx context.Context) (string, error) {
	e, err := s.waitFor(ctx, "the versions", func(e cloudtest.Event) bool { return e.Kind == cloudtest.EventPublish })
	if err != nil {
		return "", err
	}
	m, _ := s.cloud.Newest(e.Topic)
	return fmt.Sprintf("%s %s", e.Topic, m.Payload), nil
}

func (s *stage) fetchesRelease(ctx context.Context) (string, error) {
	content := cloudtest.Seeded(1, releaseSize)
	_, want, err := cloudtest.Digest(content)
	if err != nil {
		return "", err
	}
	id := s.cloud.Offer("display", "1.3.0", content)
	s.screen.say("cloud", "releases display 1.3.0, %d MiB", releaseSize>>20)
	if out, err := s.agent.ask(ctx, "ota", "check", "display"); err != nil {
		return "", fmt.Errorf("ota check: %w: %s", err, out)
	}
	if _, err := s.waitFor(ctx, "the download", func(e cloudtest.Event) bool {
		return e.Kind == cloudtest.EventDownload && e.ID == id && e.Offset+e.Size == releaseSize
	}); err != nil {
		return "", err
	}
	for {
		m, err := s.agent.module(ctx)
		switch {
		case err != nil:
			return "", err
		case m.Phase == "READY" && m.SHA256 == want:
			return "sha256 " + want[:16] + "… equal to the released one", nil
		case m.Phase == "READY":
			return "", fmt.Errorf("sha256 %s, released %s", m.SHA256, want)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return "", errors.New("fetched but not ready: " + m.Reason)
		}
	}
}

func (s *stage) uploadsFile(ctx context.Context) (string, error) {
	text := bytes.Repeat([]byte("2026-11-22T10:00:00Z engine 1 temperature 71.5 ok\n"), 400)
	path := filepath.Join(s.dir, "spool", "log", "engine.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(path+".part", text, 0o644); err != nil {
		return "", err
	}
	if err := os.Rename(path+".part", path); err != nil {
		return "", err
	}
	s.screen.say("gateway", "a local program drops spool/log/engine.log, %d bytes", len(text))
	if _, err := s.waitFor(ctx, "the upload", func(e cloudtest.Event) bool { return e.Kind == cloudtest.EventUpload }); err != nil {
		return "", err
	}
	files := s.cloud.Uploads()
	if len(files) != 1 || !bytes.Equal(files[0].Content, text) {
		return "", fmt.Errorf("%d data files at the cloud, or not what was dropped", len(files))
	}
	return fmt.Sprintf("data file %d, %d bytes, once", files[0].ID, files[0].Size), nil
}

func (s *stage) renews(ctx context.Context) (string, error) {
	login, err := s.waitFor(ctx, "a renewal", func(e cloudtest.Event) bool { return e.Kind == cloudtest.EventLogin && e.Status == 201 })
	if err != nil {
		return "", err
	}
	connect, err := s.waitFor(ctx, "a CONNECT with the new token", func(e cloudtest.Event) bool {
		return e.Kind == cloudtest.EventConnect && e.Status == 0 && e.Token != login.Token
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("reconnected %d ms after the renewal", connect.At.Sub(login.At).Milliseconds()), nil
}

func (s *stage) survivesCut(ctx context.Context) (string, error) {
	if err := pause(ctx, 2*time.Second); err != nil {
		return "", err
	}
	s.screen.say("cloud", "cuts every connection to the broker")
	cut := time.Now()
	s.cloud.Drop()
	e, err := s.waitFor(ctx, "a CONNECT after the cut", func(e cloudtest.Event) bool {
		return e.Kind == cloudtest.EventConnect && e.Status == 0 && e.At.After(cut)
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("back after %.1f s", e.At.Sub(cut).Seconds()), nil
}

func (s *stage) renewsAgain(ctx context.Context) (string, error) {
	if _, err := s.renews(ctx); err != nil {
		return "", err
	}
	n := 0
	for _, l := range s.cloud.Logins() {
		if l.Given != "" {
			n++
		}
	}
	return fmt.Sprintf("%d renewals, %d CONNECTs, 0 refused", n, len(s.cloud.Connects())), s.nothingRefused()
}

func (s *stage) nothingRefused() error {
	for _, c := range s.cloud.Connects() {
		if c.Code != 0 {
			return fmt.Errorf("a CONNECT was refused with code %d", c.Code)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// module is the part of `status --json` that the demo looks at.
type module struct {
	Phase  string `json:"phase"`
	SHA256 string `json:"sha256"`
	Reason string `json:"reason"`
}

func (a *agent) module(ctx context.Context) (module, error) {
	out, err := a.ask(ctx, "status", "--json")
	if err != nil {
		return module{}, fmt.Errorf("status: %w: %s", err, out)
	}
	var s struct {
		OTA []module `json:"ota"`
	}
	if err := json.Unmarshal(out, &s); err != nil || len(s.OTA) != 1 {
		return module{}, fmt.Errorf("status --json: %d modules, %w", len(s.OTA), err)
	}
	return s.OTA[0], nil
}
