package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// content makes a release.
func (t *trial) content(version string, ill bool) []byte {
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(t.random.Uint32())
	}
	health := "good"
	if ill {
		health = "BAD"
	}
	copy(b, version+"\n"+health+"\n")
	sum := sha256.Sum256(b)
	t.versions[hex.EncodeToString(sum[:])] = version
	t.ill[version] = ill
	return b
}

// offer puts the next release into the cloud's catalogue.
func (t *trial) offer() error {
	n := len(t.versions) + 1
	version := fmt.Sprintf("1.%d.0", n)
	b := t.content(version, n%3 == 0)
	file := filepath.Join(t.dir, version)
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	notes := fmt.Sprintf("ota1 sha256=%x size=%d module=display version=%s", sum, len(b), version)
	if out, err := t.sim("offer", file, "--module", "display", "--version", version, "--notes", notes); err != nil {
		return fmt.Errorf("offer: %w: %s", err, out)
	}
	t.newest = version
	return nil
}

// prepare starts the cloud and makes the machine with 1.1.0 on it.
func (t *trial) prepare(kernel string) (stop func(), err error) {
	ready := filepath.Join(t.dir, "ready")
	out, err := os.Create(ready)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cloud := exec.Command("build/spoke-zone-sim", "serve", "--tls", "--host", "10.0.2.2", "--module", "display")
	cloud.Stdout = out
	if err := cloud.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cloud.Process.Kill()
		_ = cloud.Wait()
	}
	var told struct{ Admin string }
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(20 * time.Second); told.Admin == ""; <-look.C {
		if data, _ := os.ReadFile(ready); len(data) > 0 {
			_ = json.Unmarshal(data, &told)
		}
		if time.Now().After(deadline) {
			return stop, errors.New("no cloud")
		}
	}
	t.sim = func(args ...string) ([]byte, error) {
		return exec.Command("build/spoke-zone-sim", append(args, "--url", told.Admin)...).CombinedOutput()
	}
	root := filepath.Join(t.dir, "root")
	gateway := filepath.Join(root, "gateway")
	if said, err := t.sim("provision", gateway, "--policy", "install", "--module", "display", "--set", "ota.check_interval=3s", "--set", "ota.verify_time=2s"); err != nil {
		return stop, fmt.Errorf("provision: %w: %s", err, said)
	}
	conf, err := os.ReadFile(filepath.Join(gateway, "agent.conf"))
	if err != nil {
		return stop, err
	}
	text := strings.NewReplacer(gateway+"/versions/display", "/data/app/display", gateway+"/run", "/run/agent",
		gateway+"/state", "/data/state", gateway+"/spool", "/data/spool", gateway, "/data/gateway").Replace(string(conf))
	if err := os.WriteFile(filepath.Join(gateway, "agent.conf"), []byte(text), 0o644); err != nil {
		return stop, err
	}
	if err := os.MkdirAll(filepath.Join(root, "app"), 0o755); err != nil {
		return stop, err
	}
	t.settled, t.newest = "1.1.0", "1.1.0"
	if err := os.WriteFile(filepath.Join(root, "app/display"), t.content("1.1.0", false), 0o644); err != nil {
		return stop, err
	}
	image, err := makeImage(root, filepath.Join(t.dir, "image"), 91<<20)
	if err != nil {
		return stop, err
	}
	t.disk = newDisk(image, true)
	t.kernel = ""
	found, err := filepath.Glob(filepath.Join(kernel, "boot/vmlinuz-*"))
	if err != nil || len(found) != 1 {
		return stop, fmt.Errorf("%d kernels in %s", len(found), kernel)
	}
	t.kernel, t.initrd = found[0], filepath.Join(t.dir, "initrd")
	if err := makeInitrd(kernel, "build/spoke-zone-agent", t.initrd); err != nil {
		return stop, err
	}
	return stop, t.offer()
}
