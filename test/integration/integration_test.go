//go:build integration

// Package integration runs the built agent against real servers: Mosquitto as
// the broker and nginx in front of a small cloud, both over TLS. It proves what
// no simulation of ours can: that others' programs take what the agent sends.
package integration

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/test/peers"
)

const (
	payloadSize = 12 << 20
	killAfter   = 6 << 20 // bytes fetched
	// A checkpoint is written every 4 MiB at this rate; one block is under way.
	mayRefetch = 4<<20 + 256<<10
	watcher    = "watcher" // a user of the broker's own
)

func TestGatewayAgainstMosquittoAndNginx(t *testing.T) {
	dir := t.TempDir()
	certs, err := peers.NewCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, payloadSize)
	rand.Read(payload)
	www := filepath.Join(dir, "www")
	if err := os.Mkdir(www, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(www, "firmware.bin"), payload, 0o644); err != nil {
		t.Fatal(err)
	}

	// The factory's token is outside the renewal window at first and slides
	// into it while the agent runs, which gets its new token when it was seen at work.
	factory := newToken(12*time.Hour + 15*time.Second)
	broker, err := peers.StartMosquitto(dir, certs, map[string]string{factory: password, watcher: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	seen := make(chan struct{})
	c := &cloud{t: t, token: factory, uploads: map[int][]byte{}, ready: seen}
	c.onRenew = func(old, token string) error {
		return broker.Admit(map[string]string{old: password, token: password, watcher: password})
	}
	app := httptest.NewServer(c.handler())
	t.Cleanup(app.Close)
	web, err := peers.StartNginx(dir, certs, www, app.Listener.Addr().String(), "0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(web.Stop)

	messages := watch(t, broker, certs)
	g := newGateway(t, factory, web.Addr, broker.Addr, certs.CA)
	g.command("check")
	g.start()

	g.until("online with the factory's token", func(s local.Status) bool {
		return s.MQTT.State == "online" && s.Token.Tail == tail(factory)
	})
	eventually(t, "the versions at the broker", func() bool {
		return strings.Contains(messages(), `mrs/d/4711/mon/versions {"display":"1.0.0"}`)
	}, messages)
	close(seen)

	renewed := g.until("online with a renewed token", func(s local.Status) bool {
		return s.MQTT.State == "online" && s.Token.Renewals == 1 && s.Token.Tail != tail(factory)
	})
	var second string
	c.seen(func() { second = c.token })
	if renewed.Token.Tail != tail(second) {
		t.Errorf("token in force ends in %q, want %q", renewed.Token.Tail, tail(second))
	}
	if got, want := g.read("etc/spoke-zone.conf"), g.identity(second); got != want {
		t.Errorf("spoke-zone.conf after the renewal:\n%s\nwant\n%s", got, want)
	}
	eventually(t, "Mosquitto lets the new token in", func() bool { return admitted(t, broker, second) },
		func() string { return logOf(t, broker) })

	t.Run("the fetch survives kill -9", func(t *testing.T) {
		c.seen(func() { c.released = "1.1.0" })
		g.command("ota", "check", "display")
		g.until("half of the file", func(s local.Status) bool { return len(s.OTA) == 1 && s.OTA[0].Bytes >= killAfter })
		g.kill()
		stored := partSize(t, g)
		g.start()
		done := g.until("the whole file", func(s local.Status) bool { return len(s.OTA) == 1 && s.OTA[0].SHA256 != "" })
		want := sha256.Sum256(payload)
		if got := done.OTA[0].SHA256; got != hex.EncodeToString(want[:]) {
			t.Errorf("status gives the digest %s, want %x", got, want)
		}
		got, err := os.ReadFile(done.OTA[0].File)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, payload) {
			t.Errorf("the file has %d bytes of another digest than the release's", len(got))
		}
		c.seen(func() {
			if len(c.ranges) != 2 || c.ranges[0] != "" {
				t.Fatalf("ranges asked for: %q, want none and then the rest", c.ranges)
			}
			from, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(c.ranges[1], "bytes="), "-"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if again := stored - from; again < 0 || again > mayRefetch {
				t.Errorf("%d bytes were stored and the fetch went on from %d: %d fetched again, want at most %d",
					stored, from, again, mayRefetch)
			} else {
				t.Logf("%d bytes stored at the kill, %d fetched again", stored, again)
			}
		})
	})

	t.Run("a token that is revoked at once is replaced", func(t *testing.T) {
		c.seen(func() {
			c.onRenew = func(_, token string) error {
				return broker.Admit(map[string]string{token: password, watcher: password})
			}
		})
		g.command("renew")
		var third string
		c.seen(func() { third = c.token })
		g.until("online with the third token", func(s local.Status) bool {
			return s.MQTT.State == "online" && s.Token.Tail == tail(third)
		})
		eventually(t, "Mosquitto lets the third token in", func() bool { return admitted(t, broker, third) },
			func() string { return logOf(t, broker) })
	})

	t.Run("an upload arrives", func(t *testing.T) {
		text := strings.Repeat("2026-11-22T12:00:00Z door opened\n", 1000)
		g.write("door.log", text, 0o644)
		g.command("upload", "--type", "log", "--module", "display", g.path("door.log"))
		eventually(t, "the data file at the cloud", func() (there bool) {
			c.seen(func() { there = len(c.uploads) == 1 })
			return there
		}, func() string { return "nothing" })
		c.seen(func() {
			if got := string(c.uploads[101]); got != text {
				t.Errorf("the cloud has %d bytes, want the file's %d", len(got), len(text))
			}
			if len(c.created) != 1 || c.created[0]["type"] != "log" || c.created[0]["moduleKey"] != "display" || len(c.created[0]) != 2 {
				t.Errorf("registered %v, want one data file of type log and moduleKey display", c.created)
			}
		})
	})

	g.stop()
	if log := g.read("agent.log"); strings.Contains(log, factory) || strings.Contains(log, second) {
		t.Error("the log holds a token")
	}
}

// watch subscribes with another program and returns what it has printed.
func watch(t *testing.T, broker *peers.Mosquitto, certs peers.Certificates) func() string {
	t.Helper()
	host, port, _ := strings.Cut(broker.Addr, ":")
	name := filepath.Join(t.TempDir(), "messages")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("mosquitto_sub", "-h", host, "-p", port, "--cafile", certs.CA, "-u", watcher, "-P", password,
		"-t", "#", "-F", "%t %p")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		out.Close()
	})
	return func() string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// admitted reports whether the broker has let user in.
func admitted(t *testing.T, broker *peers.Mosquitto, user string) bool {
	return strings.Contains(logOf(t, broker), "u'"+user+"'")
}

func logOf(t *testing.T, broker *peers.Mosquitto) string {
	t.Helper()
	b, err := os.ReadFile(broker.Log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// partSize is how much of the file the killed agent has left.
func partSize(t *testing.T, g *gateway) int64 {
	t.Helper()
	var size int64 = -1
	err := filepath.WalkDir(g.path("state"), func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "part" {
			var info os.FileInfo
			if info, err = d.Info(); err == nil {
				size = info.Size()
			}
		}
		return err
	})
	if err != nil || size < 0 {
		t.Fatalf("no part of the file under the state directory: %v", err)
	}
	return size
}

func tail(token string) string { return token[len(token)-6:] }
