//go:build integration

// Package watch updates a device that has no systemd: the built agent and
// install-run --watch beside it, as an init script starts them.
package watch

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

const (
	etc  = "/etc/spoke-zone-agent"
	work = "/run/device" // in a file system of the test's own
)

const settings = `[paths]
identity = /run/device/spoke-zone.conf
state    = /run/device/state
run      = /run/device/run
spool    = /run/device/spool
[cloud]
url      = %s
ca_file  = /run/device/ca.pem
[mqtt]
broker = %s
[ota]
check_interval = 60s
verify_time    = 1s
[module.screen]
version_file = /run/device/version
policy       = install
[local]
group =
`

const policy = `[paths]
agent = /run/device/state
state = /run/device/installer
run   = /run/device/installer.run
[module.screen]
keys = /etc/spoke-zone-agent/keys/*.pub
`

// hook replaces one file, and notes each call. An installation waits for go. With
// version 1.3 comes a hook that does not work.
const hook = `#!/bin/sh
top=/run/device
echo "$1 $SPOKE_OTA_VERSION" >>$top/calls
case $1 in
info) printf '@set api=1\n@set reboot=never\n@set rollback=yes\n' ;;
probe) if [ "$(cat $top/version)" = "$SPOKE_OTA_VERSION" ]; then exit 20; else exit 22; fi ;;
install)
	while [ ! -e $top/go ]; do sleep 0.05; done
	if [ "$SPOKE_OTA_VERSION" = 1.3 ]; then
		cp -p /etc/spoke-zone-agent/hooks.d/screen "$SPOKE_OTA_STATE_DIR/hook" && echo 'exit 1' >/etc/spoke-zone-agent/hooks.d/screen
	fi
	cp $top/version "$SPOKE_OTA_STATE_DIR/before" && cp "$SPOKE_OTA_FILE" $top/.new && sync $top/.new && mv $top/.new $top/version ;;
verify) [ "$(cat $top/version)" != 1.2 ] || exit 41 ;;
rollback)
	[ ! -e "$SPOKE_OTA_STATE_DIR/hook" ] || cp -p "$SPOKE_OTA_STATE_DIR/hook" /etc/spoke-zone-agent/hooks.d/screen
	cp "$SPOKE_OTA_STATE_DIR/before" $top/.new && mv $top/.new $top/version ;;
esac
`

// isolated runs the test again as root of a mount namespace of its own, where
// it may have an /etc and a /run, and reports whether this is that process.
func isolated(t *testing.T) bool {
	t.Helper()
	const child = "AGENT_TEST_ISOLATED"
	if os.Getenv(child) != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in its own namespace: %v\n%s", err, out)
	}
	return false
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), mode))
}

func read(name string) string {
	b, _ := os.ReadFile(name) // what is not there is empty
	return strings.TrimSpace(string(b))
}

// key makes a key for signing, and the text of its public half.
func key(t *testing.T) (release.SecretKey, string) {
	t.Helper()
	k := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))
	id := []byte("a test's")
	k2, err := release.ParseSecretKey([]byte(base64.StdEncoding.EncodeToString(
		slices.Concat([]byte("Ed\x00\x00B2"), make([]byte, 48), id, k, make([]byte, 32)))), nil)
	must(t, err)
	return k2, base64.StdEncoding.EncodeToString(slices.Concat([]byte("Ed"), id, k.Public().(ed25519.PublicKey)))
}

// A device is what runs on it.
type device struct {
	*testing.T
	binary string
	cloud  *cloudtest.Cloud
	key    release.SecretKey
}

// start runs the agent with args, and returns what ends it with kill -9.
func (d device) start(args ...string) (kill func()) {
	d.Helper()
	log, err := os.OpenFile(work+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(d.T, err)
	defer log.Close()
	cmd := exec.Command(d.binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	must(d.T, cmd.Start())
	dead := false
	kill = func() {
		if !dead {
			dead = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	d.Cleanup(kill)
	return kill
}

func (d device) offer(version string) {
	sum := release.NewDigest()
	_, _ = sum.Write([]byte(version + "\n"))
	line, err := d.key.Sign(sum, "screen", version, 0)
	must(d.T, err)
	id := d.cloud.Offer("screen", version, cloudtest.Bytes([]byte(version+"\n")))
	d.cloud.Edit(id, func(r *cloudtest.Release) { r.Notes = line.String() })
}

func (d device) module() (m local.Module, err error) {
	list, err := (&local.Client{Socket: work + "/run/agent.sock"}).OTA(d.Context())
	if err == nil && len(list) == 1 {
		m = list[0]
	}
	return m, err
}

func (d device) eventually(what string, is func() bool) {
	d.Helper()
	for range 1800 {
		if is() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	m, err := d.module()
	text, _ := json.Marshal(m)
	d.Fatalf("never: %s\n%s, %v\ncalls:\n%s\nlog:\n%s", what, text, err, read(work+"/calls"), read(work+"/log"))
}

func (d device) calls(line string) int {
	return len(slices.DeleteFunc(strings.Split(read(work+"/calls"), "\n"), func(s string) bool { return s != line }))
}

// newDevice makes one in the test's own namespace.
func newDevice(t *testing.T) device {
	t.Helper()
	binary, err := filepath.Abs("../../build/spoke-zone-agent")
	must(t, err)
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("%v (make build comes first)", err)
	}
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	for _, dir := range []string{"/etc", "/run"} { // without systemd in the one, or settings in the other
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"))
	}
	must(t, os.MkdirAll(work, 0o755))
	cloud := cloudtest.New(cloudtest.Options{})
	t.Cleanup(cloud.Close)
	addrs, err := cloud.Listen(cloudtest.Listeners{TLS: true})
	must(t, err)
	dev := cloud.AddDevice(cloudtest.Device{CPUID: "0a1b2c3d", UUID: "6f1c", Modules: []string{"screen"}})
	secret, public := key(t)
	d := device{t, binary, cloud, secret}
	write(t, work+"/agent.conf", fmt.Sprintf(settings, addrs.API, addrs.MQTT), 0o600)
	write(t, work+"/ca.pem", string(cloud.CA()), 0o600)
	write(t, work+"/version", "1.0\n", 0o644)
	write(t, work+"/spoke-zone.conf", fmt.Sprintf("[device]\ncpu_id = %s\nuuid = %s\nmqtt_username = %s\nmqtt_password = x\n",
		dev.CPUID, dev.UUID, cloud.Issue(dev.ID, 0)), 0o600)
	write(t, etc+"/install.conf", policy, 0o644)
	write(t, etc+"/keys/test.pub", public, 0o644)
	write(t, etc+"/hooks.d/screen", hook, 0o755)
	return d
}

// TestAnUpdateWithoutSystemd kills the agent and the watcher while the hook
// installs, which goes on and is not run twice; a version whose hook finds it
// ill is undone.
func TestAnUpdateWithoutSystemd(t *testing.T) {
	if !isolated(t) {
		return
	}
	d := newDevice(t)
	d.offer("1.1")
	killWatcher, killAgent := d.start("install-run", "--watch"), d.start("run", "--config", work+"/agent.conf")
	d.eventually("the hook installs 1.1", func() bool { return d.calls("install 1.1") == 1 })
	killWatcher()
	killAgent()
	killAgent = d.start("run", "--config", work+"/agent.conf")
	d.start("install-run", "--watch")
	d.eventually("the agent is there again", func() bool { m, err := d.module(); return err == nil && m.Phase == "INSTALLING" })
	write(t, work+"/go", "", 0o600)
	d.eventually("1.1 is permanent", func() bool {
		m, err := d.module()
		return err == nil && strings.HasPrefix(m.Outcome, "1.1 COMMITTED") && m.Phase == "IDLE"
	})
	if n := d.calls("install 1.1"); n != 1 || read(work+"/version") != "1.1" || d.calls("commit 1.1") != 1 {
		t.Errorf("%d installations, version %s\n%s", n, read(work+"/version"), read(work+"/calls"))
	}

	d.offer("1.2") // which is ill
	killAgent()
	d.start("run", "--config", work+"/agent.conf")
	d.eventually("1.2 is undone", func() bool {
		m, err := d.module()
		return err == nil && strings.HasPrefix(m.Outcome, "1.2 FAILED") && m.Phase == "IDLE"
	})
	if read(work+"/version") != "1.1" || d.calls("rollback 1.2") == 0 || d.calls("commit 1.2") != 0 {
		t.Errorf("version %s\n%s", read(work+"/version"), read(work+"/calls"))
	}
	if left, err := os.ReadDir(work + "/state/install"); err != nil || len(left) > 0 {
		t.Errorf("requests left: %v, %v", left, err)
	}
}
