package hooks

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const files = 40 // of the package

// pack makes a real package of so many bytes beside some small files. Its
// scripts take a moment, so that a kill can meet them.
func pack(t *testing.T, dir, version string, bytes int, control string) string {
	t.Helper()
	tree := filepath.Join(dir, "tree-"+version)
	write(t, filepath.Join(tree, "DEBIAN/control"), fmt.Sprintf("Package: demo\nVersion: %s\nArchitecture: all\n"+
		"Maintainer: Demo <demo@example.org>\nInstalled-Size: %d\n%sDescription: demo\n A package to be updated.\n", version, bytes/1024, control))
	for _, script := range []string{"postinst", "prerm"} {
		write(t, filepath.Join(tree, "DEBIAN", script), "#!/bin/sh\nset -e\nsleep 0.05\n")
		if err := os.Chmod(filepath.Join(tree, "DEBIAN", script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(tree, "DEBIAN/conffiles"), "/etc/demo.conf\n")
	write(t, filepath.Join(tree, "etc/demo.conf"), "of the package\n")
	write(t, filepath.Join(tree, "opt/demo/big"), strings.Repeat(version+"\n", bytes/(len(version)+1)))
	for i := range files {
		write(t, filepath.Join(tree, "opt/demo", strconv.Itoa(i)), version)
	}
	if err := os.Symlink("big", filepath.Join(tree, "opt/demo/link")); err != nil {
		t.Fatal(err)
	}
	do(t, tree, "sh", "-c", "find opt -type f | xargs md5sum >DEBIAN/md5sums")
	deb := filepath.Join(dir, "demo_"+version+".deb")
	do(t, dir, "dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, deb)
	return deb
}

// packages makes 1.0 and 2.0.
func packages(t *testing.T, bytes int) (dir string) {
	dir = tempDir(t)
	pack(t, dir, "1.0", bytes/2, "")
	pack(t, dir, "2.0", bytes, "")
	return dir
}

const demo = "ROOT=@/root\nPACKAGE=demo\nOPTIONS='--force-script-chrootless --log=/dev/null'\n"

// withDemo is a system with 1.0 installed and its conffile changed, and a hook
// that has 2.0.
func withDemo(t *testing.T, debs string) *hook {
	t.Helper()
	h := newHook(t, "dpkg", demo, filepath.Join(debs, "demo_2.0.deb"))
	write(t, filepath.Join(h.dir, "root/var/lib/dpkg/status"), "")
	for _, d := range []string{"updates", "info", "triggers"} {
		if err := os.MkdirAll(filepath.Join(h.dir, "root/var/lib/dpkg", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(h.dir, "root/usr"), 0o755); err != nil {
		t.Fatal(err)
	}
	first := *h
	first.payload = filepath.Join(debs, "demo_1.0.deb")
	first.want(t, "install", ok)
	for _, note := range []string{"from", "package", "version"} {
		os.Remove(filepath.Join(h.dir, "hook", note))
	}
	write(t, filepath.Join(h.dir, "root/etc/demo.conf"), "mine\n")
	return h
}

// wantDemo compares every file of the package on the system with the version.
func wantDemo(t *testing.T, h *hook, debs, version string) {
	t.Helper()
	for i := range files {
		if got := read(t, filepath.Join(h.dir, "root/opt/demo", strconv.Itoa(i))); got != version {
			t.Fatalf("file %d is of %q, want %s", i, got, version)
		}
	}
	if read(t, filepath.Join(h.dir, "root/opt/demo/link")) != read(t, filepath.Join(debs, "tree-"+version, "opt/demo/big")) {
		t.Fatalf("the large file is not that of %s", version)
	}
	if got := read(t, filepath.Join(h.dir, "root/etc/demo.conf")); got != "mine\n" {
		t.Fatalf("the conffile is %q", got)
	}
	left, err := filepath.Glob(filepath.Join(h.dir, "root/opt/demo/*.dpkg-*"))
	if err != nil || len(left) > 0 {
		t.Fatalf("%v, %v are left", left, err)
	}
	if got := dpkgStatus(h); got != "installed ok "+version {
		t.Fatalf("dpkg says %q, want %s", got, version)
	}
}

func dpkgStatus(h *hook) string {
	out, _ := exec.Command("dpkg-query", "--admindir="+filepath.Join(h.dir, "root/var/lib/dpkg"), "-W",
		"-f=${db:Status-Status} ${db:Status-Eflag} ${Version}", "demo").Output()
	return string(out)
}

// TestDpkgStaysAndGoesBack goes back to a package that had to be made of what
// was installed, and later to the one that was kept.
func TestDpkgStaysAndGoesBack(t *testing.T) {
	debs := packages(t, 100<<10)
	h := withDemo(t, debs)
	h.want(t, "check", ok)
	h.want(t, "probe", previous)
	h.want(t, "rollback", ok) // nothing was done
	for range 2 {
		h.says(t, "install", ok, "@progress")
		h.want(t, "probe", active)
		h.want(t, "verify", ok)
		wantDemo(t, h, debs, "2.0")
	}
	for range 2 {
		h.says(t, "rollback", ok, "back on 1.0")
		h.want(t, "probe", previous)
		wantDemo(t, h, debs, "1.0")
	}
	h.want(t, "install", ok)
	h.want(t, "commit", ok)
	h.want(t, "commit", ok)
	h.want(t, "cleanup", ok)
	os.RemoveAll(filepath.Join(h.dir, "hook"))
	if err := os.Mkdir(filepath.Join(h.dir, "hook"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.says(t, "rollback", unchanged, "this update keeps nothing to go back to") // it is permanent
	wantDemo(t, h, debs, "2.0")
	h.payload = pack(t, debs, "3.0", 100<<10, "")
	h.want(t, "rollback", ok) // nothing was done
	h.want(t, "install", ok)
	if kept, was := read(t, filepath.Join(h.dir, "hook/previous.deb")), read(t, filepath.Join(debs, "demo_2.0.deb")); kept != was {
		t.Error("the way back is not the package that was committed")
	}
	h.want(t, "rollback", ok)
	wantDemo(t, h, debs, "2.0")
}

// TestDpkgKilled kills the hook and dpkg at random instants of install, commit
// and rollback. The agent then ends on the whole new package, or on the whole
// previous one. OTA_KILLS says how often.
func TestDpkgKilled(t *testing.T) {
	kills := 6
	if n, err := strconv.Atoi(os.Getenv("OTA_KILLS")); err == nil {
		kills = n
	}
	debs := packages(t, 4<<20)
	met := map[string]int{}
	for n := range kills {
		verb := []string{"install", "install", "rollback", "commit"}[n%4]
		h := withDemo(t, debs)
		if verb != "install" {
			h.want(t, "install", ok)
		}
		within := map[string]int{"install": 500, "rollback": 500, "commit": 30}[verb]
		after := time.Duration(rand.IntN(within)) * time.Millisecond
		cmd := h.command(verb)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Log(err) // it was faster
		}
		_ = cmd.Wait()
		met[verb+" cut: "+dpkgStatus(h)]++
		what := fmt.Sprintf("%s killed after %v at %q", verb, after, dpkgStatus(h))
		if verb != "rollback" {
			if state := h.restart(t); state != active {
				t.Fatalf("%s: probe says %d\n%s", what, state, h.said)
			}
			h.want(t, "verify", ok)
			wantDemo(t, h, debs, "2.0")
			if verb == "commit" {
				h.want(t, "commit", ok)
			}
		}
		if code := h.run(t, "rollback"); code != ok {
			t.Fatalf("%s: rollback %d\n%s", what, code, h.said)
		}
		h.want(t, "probe", previous)
		wantDemo(t, h, debs, "1.0")
		os.RemoveAll(h.dir)
	}
	for state, n := range met {
		t.Logf("%3d x %s", n, state)
	}
}

func TestDpkgRefuses(t *testing.T) {
	dir := tempDir(t)
	good := pack(t, dir, "1.0", 10<<10, "")
	tests := []struct {
		name  string
		deb   func(t *testing.T) string
		more  string
		code  int
		words string
	}{
		{"something else", func(t *testing.T) string { write(t, dir+"/text", "no package"); return dir + "/text" }, "", reject, "no Debian package"},
		{"half of it", func(t *testing.T) string {
			write(t, dir+"/half", read(t, good)[:len(read(t, good))-4000])
			return dir + "/half"
		}, "", reject, ""},
		{"another package", func(*testing.T) string { return good }, "PACKAGE=other\n", reject, "the package demo, not other"},
		{"what it needs is not there", func(t *testing.T) string { return pack(t, dir, "4.0", 10<<10, "Depends: nothing-of-this-name\n") }, "", reject, "dpkg would refuse it"},
		{"too large", func(t *testing.T) string {
			d := pack(t, dir, "5.0", 10<<10, "")
			write(t, dir+"/tree-5.0/DEBIAN/control", strings.Replace(read(t, dir+"/tree-5.0/DEBIAN/control"), "Installed-Size: 10", "Installed-Size: 1000000000000", 1))
			do(t, dir, "dpkg-deb", "-Znone", "-b", dir+"/tree-5.0", d)
			return d
		}, "", noSpace, "@need-bytes"},
		{"another machine's", func(t *testing.T) string {
			d := pack(t, dir, "6.0", 10<<10, "")
			write(t, dir+"/tree-6.0/DEBIAN/control", strings.Replace(read(t, dir+"/tree-6.0/DEBIAN/control"), "Architecture: all", "Architecture: m68k", 1))
			do(t, dir, "dpkg-deb", "-Znone", "-b", dir+"/tree-6.0", d)
			return d
		}, "", wrongDevice, "m68k"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := withDemo(t, packages(t, 10<<10))
			h.settings(t, demo+test.more)
			h.payload = test.deb(t)
			h.says(t, "check", test.code, test.words)
		})
	}
}

// TestDpkgFailingScript is a package whose script fails: the way back works.
func TestDpkgFailingScript(t *testing.T) {
	debs := packages(t, 100<<10)
	write(t, debs+"/tree-2.0/DEBIAN/postinst", "#!/bin/sh\necho the script complains >&2\nexit 1\n")
	do(t, debs, "dpkg-deb", "-Znone", "--root-owner-group", "-b", debs+"/tree-2.0", debs+"/demo_2.0.deb")
	h := withDemo(t, debs)
	h.says(t, "install", changed, "the script complains")
	h.want(t, "probe", damaged)
	h.want(t, "verify", changed)
	h.want(t, "rollback", ok)
	h.want(t, "probe", previous)
	wantDemo(t, h, debs, "1.0")
}

// TestDpkgFirstOne takes back a package that was not there before.
func TestDpkgFirstOne(t *testing.T) {
	debs := packages(t, 100<<10)
	h := withDemo(t, debs)
	do(t, h.dir, "dpkg", "--root="+h.dir+"/root", "--force-not-root", "--force-script-chrootless", "--log=/dev/null", "--purge", "demo")
	h.want(t, "probe", previous)
	h.want(t, "install", ok)
	h.want(t, "probe", active)
	h.want(t, "rollback", ok)
	h.want(t, "probe", previous)
	if exists(filepath.Join(h.dir, "root/opt/demo/1")) {
		t.Error("the package is still there")
	}
}

// TestDpkgNoticesDamage is a file that rots after the installation.
func TestDpkgNoticesDamage(t *testing.T) {
	debs := packages(t, 100<<10)
	h := withDemo(t, debs)
	h.want(t, "install", ok)
	write(t, filepath.Join(h.dir, "root/opt/demo/3"), "rotten")
	h.says(t, "verify", changed, "differ from the package")
}

// TestDpkgWaitsForTheLock is another dpkg at work.
func TestDpkgWaitsForTheLock(t *testing.T) {
	debs := packages(t, 100<<10)
	h := withDemo(t, debs)
	lock, err := os.OpenFile(filepath.Join(h.dir, "root/var/lib/dpkg/lock-frontend"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.FcntlFlock(lock.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	h.want(t, "install", later)
	h.want(t, "probe", previous)
}
