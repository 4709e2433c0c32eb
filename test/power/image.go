package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed init
var initScript string

// modules of the kernel, in the order in which they are loaded.
var modules = strings.Fields("virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net virtio-rng " +
	"virtio_blk crc16 mbcache jbd2 crc32c_generic libcrc32c ext4")

const installConf = `[paths]
agent = /data/state
state = /data/installer
[module.display]
hook = file
require = digest
`

// The module is one file whose first line is its version. One that says BAD is
// not healthy.
const hookConf = `TARGET=/data/app/display
AFTER='cp /data/app/display /run/running'
HEALTH='cmp /data/app/display /run/running && ! head -n 2 /run/running | grep -q BAD'
`

// makeInitrd packs what the guest runs.
func makeInitrd(kernel, agent, out string) error {
	root, err := os.MkdirTemp(filepath.Dir(out), "initrd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	for _, d := range []string{"bin", "lib", "proc", "sys", "dev", "run", "tmp", "data", "usr/lib/spoke-zone-agent/hooks", "etc/spoke-zone-agent/hooks.d"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{"init": initScript, "etc/spoke-zone-agent/install.conf": installConf, "etc/spoke-zone-agent/hooks.d/display.conf": hookConf}
	copies := map[string]string{"bin/busybox": "/bin/busybox", "bin/spoke-zone-agent": agent}
	for _, h := range []string{"file", "lib.sh"} {
		copies["usr/lib/spoke-zone-agent/hooks/"+h] = "packaging/hooks/" + h
	}
	order := ""
	for _, m := range modules {
		found, err := exec.Command("find", filepath.Join(kernel, "lib/modules"), "-name", m+".ko").Output()
		if err != nil {
			return err
		}
		if path, _, ok := strings.Cut(string(found), "\n"); ok {
			copies["lib/"+m+".ko"] = path
			order += m + "\n"
		}
	}
	files["lib/order"] = order
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	for name, from := range copies {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, name), data, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(root, "init"), 0o755); err != nil {
		return err
	}
	return sh(fmt.Sprintf("cd %q && find . | /bin/busybox cpio -o -H newc -R 0:0 2>/dev/null | gzip -1 >%q", root, out))
}

// makeImage makes an ext4 file system of what is in root.
func makeImage(root, out string, bytes int64) ([]byte, error) {
	if err := sh(fmt.Sprintf("truncate -s %d %q && mkfs.ext4 -q -E root_owner=0:0 -d %q %q", bytes, out, root, out)); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

func sh(script string) error {
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, out)
	}
	return nil
}
