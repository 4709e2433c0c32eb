package hooks

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// changing are the programs by which the file hook changes something.
var changing = []string{"mv", "ln", "cp", "sync", "tar", "chmod", "chown", "rm", "mkdir", "systemctl"}

// A target is a way of using the file hook.
type target struct {
	name     string
	settings string
	tree     bool
	reboot   bool
}

var targets = []target{
	{name: "file", settings: "TARGET=@/app\nAFTER='cat @/app >@/runs'\nHEALTH='test -s @/runs'\n"},
	{name: "tree", settings: "TARGET=@/app\nKIND=tree\nAFTER='cat @/app/version >@/runs'\n", tree: true},
	{name: "file, by a reboot", settings: "TARGET=@/app\nREBOOT=yes\n", reboot: true},
}

// deploy puts version 1.0 at its place and returns a hook with 2.0.
func (g target) deploy(t *testing.T) *hook {
	t.Helper()
	h := newHook(t, "file", g.settings, "")
	h.payload = filepath.Join(h.dir, "payload")
	if g.tree {
		write(t, filepath.Join(h.dir, "app.versions/0/version"), "1.0")
		if err := os.Symlink(filepath.Join(h.dir, "app.versions/0"), filepath.Join(h.dir, "app")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(h.dir, "src/version"), "2.0")
		write(t, filepath.Join(h.dir, "src/lib/module"), "2.0")
		do(t, filepath.Join(h.dir, "src"), "tar", "-czf", h.payload, ".")
	} else {
		write(t, filepath.Join(h.dir, "app"), "1.0")
		if err := os.Chmod(filepath.Join(h.dir, "app"), 0o750); err != nil {
			t.Fatal(err)
		}
		write(t, h.payload, "2.0")
	}
	write(t, filepath.Join(h.dir, "runs"), "1.0")
	return h
}

// version is what stands at the target; it must never be anything but whole.
func (g target) version(t *testing.T, h *hook) string {
	t.Helper()
	app := filepath.Join(h.dir, "app")
	if !g.tree {
		return read(t, app)
	}
	v := read(t, filepath.Join(app, "version"))
	if v == "2.0" && read(t, filepath.Join(app, "lib/module")) != "2.0" {
		t.Fatal("the new tree is not whole")
	}
	return v
}

// reboots is what a start of the machine does: programs run what is there.
func (g target) reboots(t *testing.T, h *hook) {
	h.boot += "+"
	write(t, filepath.Join(h.dir, "runs"), g.version(t, h))
}

func (g target) wantRunning(t *testing.T, h *hook, version string) {
	t.Helper()
	if got := g.version(t, h); got != version {
		t.Fatalf("%s is at the target, want %s", got, version)
	}
	if got := read(t, filepath.Join(h.dir, "runs")); got != version {
		t.Fatalf("%s runs, want %s", got, version)
	}
}

func TestFileInstallsAndGoesBack(t *testing.T) {
	for _, g := range targets {
		t.Run(g.name, func(t *testing.T) {
			h := g.deploy(t)
			h.says(t, "info", ok, "@set api=1")
			h.want(t, "check", ok)
			h.want(t, "probe", previous)
			h.want(t, "rollback", ok) // nothing was done yet
			done := ok
			if g.reboot {
				done = okReboot
			}
			h.want(t, "install", done)
			if g.reboot {
				h.want(t, "probe", staged)
				g.reboots(t, h)
			}
			h.want(t, "probe", active)
			h.want(t, "verify", ok)
			g.wantRunning(t, h, "2.0")
			if !g.tree {
				if info, err := os.Stat(filepath.Join(h.dir, "app")); err != nil || info.Mode().Perm() != 0o750 {
					t.Errorf("mode of the new file: %v, %v, want that of the old one", info.Mode(), err)
				}
			}
			h.want(t, "rollback", done)
			if g.reboot {
				h.want(t, "probe", previous)
				g.reboots(t, h)
				h.want(t, "rollback", ok)
			}
			h.want(t, "probe", previous)
			g.wantRunning(t, h, "1.0")
			h.want(t, "cleanup", ok)
			if exists(filepath.Join(h.dir, "app.versions/00000001-7")) {
				t.Error("the tree that was taken back is still there")
			}
		})
	}
}

func TestFileCommitKeepsThePrevious(t *testing.T) {
	for _, g := range targets[:2] {
		h := g.deploy(t)
		write(t, filepath.Join(h.dir, "app.versions/older/version"), "0.9")
		for _, verb := range []string{"install", "verify", "commit", "commit", "cleanup"} {
			h.want(t, verb, ok)
		}
		g.wantRunning(t, h, "2.0")
		if g.tree && (exists(filepath.Join(h.dir, "app.versions/older")) || !exists(filepath.Join(h.dir, "app.versions/0"))) {
			t.Error("of the trees, the running and the previous one stay")
		}
		if !g.tree && read(t, filepath.Join(h.dir, ".app.previous")) != "1.0" {
			t.Error("the previous file was not kept")
		}
	}
}

// TestFileCutAnywhere kills the hook before and after each program that it runs
// in install and in rollback. The target is whole at each of them, and the agent
// ends on what it wants.
func TestFileCutAnywhere(t *testing.T) {
	for _, g := range targets {
		for _, verb := range []string{"install", "rollback"} {
			t.Run(g.name+"/"+verb, func(t *testing.T) {
				t.Parallel()
				if n := g.cuts(t, verb); n < 8 {
					t.Errorf("cut at %d calls, want more: are the shims in use?", n)
				}
			})
		}
	}
}

// cuts cuts the verb at each of its calls and returns how many there were. Every
// second time it is after the call and not before it, and of each two times the
// machine starts anew once.
func (g target) cuts(t *testing.T, verb string) int {
	t.Helper()
	for n := 1; ; n++ {
		h := g.deploy(t)
		if verb == "rollback" {
			h.run(t, "install")
			if g.reboot {
				g.reboots(t, h)
			}
		}
		path, after, power := h.path, n%2 == 0, n%4 < 2
		h.crashing(t, n, after, changing...)
		if h.run(t, verb) != killed {
			return n - 1
		}
		h.path = path
		if v := g.version(t, h); v != "1.0" && v != "2.0" {
			t.Fatalf("%s %s %d: %q at the target", g.name, verb, n, v)
		}
		if power {
			g.reboots(t, h)
		}
		g.recover(t, h, verb, fmt.Sprintf("%s cut at call %d (after it: %v, power: %v)", verb, n, after, power))
		os.RemoveAll(h.dir)
	}
}

func (g target) recover(t *testing.T, h *hook, verb, what string) {
	t.Helper()
	if verb == "install" {
		state := h.restart(t)
		if state == staged {
			g.reboots(t, h)
			state = h.run(t, "probe")
		}
		if state != active {
			t.Fatalf("%s: %s: probe says %d\n%s", g.name, what, state, h.said)
		}
		h.want(t, "verify", ok)
		g.wantRunning(t, h, "2.0")
	}
	if code := h.run(t, "rollback"); code == okReboot {
		g.reboots(t, h)
	} else if code != ok {
		t.Fatalf("%s: %s: rollback %d\n%s", g.name, what, code, h.said)
	}
	h.want(t, "probe", previous)
	g.wantRunning(t, h, "1.0")
}

func TestFileRefuses(t *testing.T) {
	good := targets[0].settings
	tests := []struct {
		name, settings string
		prepare        func(t *testing.T, h *hook)
		code           int
		words          string
	}{
		{"no target", "", nil, reject, "TARGET"},
		{"the root", "TARGET=/\n", nil, reject, "TARGET"},
		{"a directory that is no link", "TARGET=@/conf\nKIND=tree\n", nil, reject, "must be a link"},
		{"no archive", "TARGET=@/new\nKIND=tree\n", nil, reject, "no tar archive"},
		{"a file over a directory", "TARGET=@/conf\n", nil, reject, "KIND is file"},
		{"no folder", "TARGET=@/none/app\n", nil, reject, "not there"},
		{"no room", good, func(_ *testing.T, h *hook) { h.env = []string{"SPOKE_OTA_SIZE=1000000000000000"} }, noSpace, "@need-bytes"},
		{"settings that others may write", good, func(t *testing.T, h *hook) {
			if err := os.Chmod(filepath.Join(h.dir, "conf/app.conf"), 0o646); err != nil {
				t.Fatal(err)
			}
		}, reject, "can be written by others"},
		{"a module that climbs", good, func(_ *testing.T, h *hook) { h.env = []string{"SPOKE_OTA_MODULE=../app"} }, reject, "name of a file"},
		{"names that climb", "TARGET=@/new\nKIND=tree\n", func(t *testing.T, h *hook) {
			write(t, filepath.Join(h.dir, "evil"), "x")
			do(t, h.dir+"/conf", "tar", "-cPf", h.payload, "../evil")
		}, reject, "lead out of it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := targets[0].deploy(t)
			h.settings(t, test.settings)
			if test.prepare != nil {
				test.prepare(t, h)
			}
			h.says(t, "check", test.code, test.words)
		})
	}
}

// TestFileFirstOne installs where nothing was; the way back is nothing again.
func TestFileFirstOne(t *testing.T) {
	h := newHook(t, "file", "TARGET=@/app\nMODE=0600\n", "")
	h.payload = filepath.Join(h.dir, "payload")
	write(t, h.payload, "2.0")
	h.want(t, "probe", previous)
	h.want(t, "install", ok)
	h.want(t, "probe", active)
	h.want(t, "rollback", ok)
	h.want(t, "probe", previous)
	if exists(filepath.Join(h.dir, "app")) {
		t.Error("the file is still there")
	}
}

// TestFileUnhealthy goes back when the module's own check fails.
func TestFileUnhealthy(t *testing.T) {
	h := targets[0].deploy(t)
	h.settings(t, targets[0].settings+"HEALTH=false\n")
	h.want(t, "install", ok)
	h.says(t, "verify", changed, "HEALTH failed")
	h.want(t, "rollback", ok)
	targets[0].wantRunning(t, h, "1.0")
}

func TestWhatIsPermanentIsNotTakenBackInSilence(t *testing.T) {
	for _, g := range targets {
		t.Run(g.name, func(t *testing.T) {
			h := g.deploy(t)
			h.want(t, "rollback", ok) // nothing was done
			g.wantRunning(t, h, "1.0")
			if code := h.run(t, "install"); code != ok && code != okReboot {
				t.Fatalf("install %d\n%s", code, h.said)
			}
			g.reboots(t, h)
			h.want(t, "commit", ok)
			h.want(t, "cleanup", ok)
			os.RemoveAll(filepath.Join(h.dir, "hook"))
			if err := os.Mkdir(filepath.Join(h.dir, "hook"), 0o700); err != nil {
				t.Fatal(err)
			}
			h.says(t, "rollback", unchanged, "this update keeps nothing to go back to")
			g.wantRunning(t, h, "2.0")
		})
	}
}
