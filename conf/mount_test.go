package conf

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// isolated runs the test again in a process with namespaces of its own, where
// it has the rights of root, and reports whether this is that process. The one
// that it returns false to has waited for the other.
func isolated(t *testing.T, namespaces uintptr) bool {
	t.Helper()
	const child = "CONF_TEST_ISOLATED"
	if os.Getenv(child) != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"=1")
	if os.Geteuid() != 0 {
		namespaces |= unix.CLONE_NEWUSER
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if namespaces&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in its own namespaces: %v\n%s", err, out)
	}
	return false
}

// mountable returns a directory that holds a file system in memory, in a mount
// namespace of its own, and false in the process that waits for that.
func mountable(t *testing.T) (dir string, ok bool) {
	t.Helper()
	if !isolated(t, unix.CLONE_NEWNS) {
		return "", false
	}
	dir = t.TempDir()
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, true
}

// placed makes a vendor's file at dir/etc/spoke-zone.conf, or what is mounted
// there.
func placed(t *testing.T, dir string) (etc, path string) {
	t.Helper()
	etc = filepath.Join(dir, "etc")
	path = filepath.Join(etc, "spoke-zone.conf")
	if err := errors.Join(os.Mkdir(etc, 0o755), os.WriteFile(path, []byte(vendorOld), 0o640)); err != nil {
		t.Fatal(err)
	}
	return etc, path
}

func bind(t *testing.T, from, to string, flags uintptr) {
	t.Helper()
	err := unix.Mount(from, to, "", unix.MS_BIND, "")
	if err == nil && flags != 0 {
		err = unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|flags, "")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteTokenThroughABindMount(t *testing.T) {
	dir, ok := mountable(t)
	if !ok {
		return
	}
	_, path := placed(t, dir)
	data := filepath.Join(dir, "data.conf")
	if err := os.WriteFile(data, []byte(vendorOld), 0o604); err != nil {
		t.Fatal(err)
	}
	bind(t, data, path, 0)
	for name, token := range replacements {
		if err := os.WriteFile(path, []byte(vendorOld), 0); err != nil {
			t.Fatal(err)
		}
		before := statOf(t, path)
		if err := WriteToken(path, token); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := contents(t, data), strings.Replace(vendorOld, jwt, token, 1); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if after := statOf(t, path); after.Ino != before.Ino || after.Mode != before.Mode {
			t.Errorf("%s: got %+v, want %+v", name, after, before)
		}
		alone(t, path)
	}
}

// TestWriteTokenThroughABindMountInAReadOnlyRoot is a gateway with its one file
// on the writable partition.
func TestWriteTokenThroughABindMountInAReadOnlyRoot(t *testing.T) {
	dir, ok := mountable(t)
	if !ok {
		return
	}
	etc, path := placed(t, dir)
	data := filepath.Join(dir, "data.conf")
	state := filepath.Join(dir, "state")
	if err := errors.Join(os.WriteFile(data, []byte(vendorOld), 0o600), os.Mkdir(state, 0o700)); err != nil {
		t.Fatal(err)
	}
	bind(t, etc, etc, unix.MS_RDONLY)
	bind(t, data, path, 0)
	for _, w := range []Writer{{}, {Journal: state}} {
		for name, token := range replacements {
			if err := os.WriteFile(data, []byte(vendorOld), 0); err != nil {
				t.Fatal(err)
			}
			if err := w.WriteToken(path, token); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, want := contents(t, path), strings.Replace(vendorOld, jwt, token, 1); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
			alone(t, path)
			if names, err := (OS{}).Names(state); err != nil || len(names) > 0 {
				t.Errorf("%s: left in the state directory: %v, %v", name, names, err)
			}
		}
	}
}

func TestWriteTokenOnAReadOnlyFileSystem(t *testing.T) {
	dir, ok := mountable(t)
	if !ok {
		return
	}
	etc, path := placed(t, dir)
	bind(t, etc, etc, unix.MS_RDONLY)
	for range 2 { // it is the same the second time
		if err := WriteToken(path, renewed); !errors.Is(err, ErrReadOnly) || !errors.Is(err, unix.EROFS) {
			t.Errorf("got %v", err)
		}
	}
	if got, err := ReadIdentity(path); err != nil || got.Token != jwt {
		t.Errorf("got %v, %v", got, err)
	}
	if err := unix.Mount("", etc, "", unix.MS_BIND|unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	if err := WriteToken(path, renewed); err != nil || contents(t, path) != vendorNew { // remounted
		t.Errorf("got %v", err)
	}
	alone(t, path)
}

func TestWriteTokenToAReadOnlyBindMount(t *testing.T) {
	dir, ok := mountable(t)
	if !ok {
		return
	}
	_, path := placed(t, dir)
	bind(t, path, path, unix.MS_RDONLY)
	if err := WriteToken(path, renewed); !errors.Is(err, ErrReadOnly) || contents(t, path) != vendorOld {
		t.Errorf("got %v", err)
	}
	alone(t, path)
}

func TestWriteTokenOnAFullFileSystem(t *testing.T) {
	dir, ok := mountable(t)
	if !ok {
		return
	}
	full := filepath.Join(dir, "full")
	if err := errors.Join(os.Mkdir(full, 0o755), unix.Mount("tmpfs", full, "tmpfs", 0, "size=8k")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(full, "spoke-zone.conf")
	if err := os.WriteFile(path, []byte(vendorOld), 0o600); err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(full, "fill")
	if err := os.WriteFile(fill, make([]byte, 64<<10), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := WriteToken(path, renewed); !errors.Is(err, unix.ENOSPC) || contents(t, path) != vendorOld {
		t.Errorf("got %v, %q", err, contents(t, path))
	}
	alone(t, fill, "spoke-zone.conf")
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if err := WriteToken(path, renewed); err != nil || contents(t, path) != vendorNew {
		t.Errorf("got %v", err)
	}
}
