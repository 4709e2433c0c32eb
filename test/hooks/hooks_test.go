// Package hooks drives the shipped installer hooks through their contract: with
// the real dpkg and the real tar, and with a RAUC and an SWUpdate that answer as
// those of Debian 12 do.
package hooks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The exit codes of the contract that the tests name.
const (
	ok          = 0
	okReboot    = 10
	later       = 12
	retry       = 13
	active      = 20
	staged      = 21
	previous    = 22
	damaged     = 23
	running     = 24
	reject      = 30
	noSpace     = 31
	wrongDevice = 32
	unchanged   = 40
	changed     = 41
	killed      = -1
)

// A hook is one of the shipped ones, set up for one update of the module "app".
type hook struct {
	name    string
	dir     string // below which everything of the test lies
	payload string
	boot    string   // the boot_id
	env     []string // beside the contract's
	path    string   // put before PATH
	said    string   // what the last verb printed
}

func newHook(t *testing.T, name, settings, payload string) *hook {
	t.Helper()
	h := &hook{name: name, dir: tempDir(t), payload: payload, boot: "boot-1"}
	for _, d := range []string{"hook", "keep", "conf"} {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.settings(t, settings)
	return h
}

func (h *hook) settings(t *testing.T, s string) {
	t.Helper()
	write(t, filepath.Join(h.dir, "conf", "app.conf"), strings.ReplaceAll(s, "@", h.dir))
}

// command is the hook as the installer starts it: its own process group, and an
// environment of the contract's variables alone. Without root it runs in a user
// namespace in which it is root.
func (h *hook) command(verb string) *exec.Cmd {
	hooks, err := filepath.Abs("../../packaging/hooks")
	if err != nil {
		panic(err)
	}
	size := int64(0)
	if info, err := os.Stat(h.payload); err == nil {
		size = info.Size()
	}
	cmd := exec.Command(filepath.Join(hooks, h.name), verb)
	cmd.Dir = filepath.Join(h.dir, "hook")
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if h.path != "" {
		path = h.path + ":" + path
	}
	cmd.Env = append([]string{
		"PATH=" + path, "LANG=C", "SPOKE_OTA_LIB=" + filepath.Join(hooks, "lib.sh"), "SPOKE_OTA_CONF_DIR=" + filepath.Join(h.dir, "conf"),
		"SPOKE_OTA_API=1", "SPOKE_OTA_TXN=00000001-7", "SPOKE_OTA_TXN_UUID=2d5f0f0e-6a55-4bd1-9d35-2f1d3a1f0001", "SPOKE_OTA_ID=7",
		"SPOKE_OTA_MODULE=app", "SPOKE_OTA_VERSION=2.0", "SPOKE_OTA_FROM_VERSION=1.0", "SPOKE_OTA_FILE=" + h.payload,
		fmt.Sprintf("SPOKE_OTA_SIZE=%d", size), "SPOKE_OTA_STATE_DIR=" + cmd.Dir, "SPOKE_OTA_KEEP_DIR=" + filepath.Join(h.dir, "keep"),
		"SPOKE_OTA_ATTEMPT=1", "SPOKE_OTA_BOOT_ID=" + h.boot, "SPOKE_OTA_DRY_RUN=0",
	}, h.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// run returns the verb's exit code, or killed.
func (h *hook) run(t *testing.T, verb string) int {
	t.Helper()
	var out bytes.Buffer
	cmd := h.command(verb)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	h.said = out.String()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %s: %v", h.name, verb, err)
	}
	return cmd.ProcessState.ExitCode() // -1 by a signal
}

// want runs the verb and compares its exit code.
func (h *hook) want(t *testing.T, verb string, code int) {
	t.Helper()
	if got := h.run(t, verb); got != code {
		t.Fatalf("%s %s: got %d, want %d\n%s", h.name, verb, got, code, h.said)
	}
}

// says runs the verb and wants the words in what it printed.
func (h *hook) says(t *testing.T, verb string, code int, words string) {
	t.Helper()
	h.want(t, verb, code)
	if !strings.Contains(h.said, words) {
		t.Errorf("%s %s said %q, want %q in it", h.name, verb, h.said, words)
	}
}

// restart is what the agent does with what it finds after a cut: it asks, and
// installs again where nothing or too little was done. It returns the answer of
// the last probe.
func (h *hook) restart(t *testing.T) int {
	t.Helper()
	state := h.run(t, "probe")
	for try := 0; try < 2 && (state == previous || state == damaged); try++ {
		if code := h.run(t, "install"); code != ok && code != okReboot {
			t.Fatalf("%s install again: %d\n%s", h.name, code, h.said)
		}
		state = h.run(t, "probe")
	}
	return state
}

// crashing puts a shim before each program that changes something: the n-th call
// kills the whole hook, before the program or after it.
func (h *hook) crashing(t *testing.T, n int, after bool, programs ...string) {
	t.Helper()
	bin := filepath.Join(h.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	count := filepath.Join(h.dir, "count")
	write(t, count, "0\n")
	for _, p := range programs {
		real := p
		if h.path == "" || !exists(filepath.Join(h.path, p)) {
			real, _ = exec.LookPath(p)
		} else {
			real = filepath.Join(h.path, p)
		}
		script := fmt.Sprintf("#!/bin/sh\nread n <%[1]s\nn=$((n + 1))\necho $n >%[1]s\n", count)
		if !after {
			script += fmt.Sprintf("[ $n != %d ] || kill -9 0\nexec %s \"$@\"\n", n, real)
		} else {
			script += fmt.Sprintf("%s \"$@\"\ncode=$?\n[ $n != %d ] || kill -9 0\nexit $code\n", real, n)
		}
		write(t, filepath.Join(bin, p), script)
		if err := os.Chmod(filepath.Join(bin, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if h.path != "" && h.path != bin {
		h.path = bin + ":" + h.path
	} else {
		h.path = bin
	}
}

// tempDir is in memory where it can be: a cut here is a kill, which no sync
// survives better.
func tempDir(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("/dev/shm"); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "hooks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func do(t *testing.T, dir, program string, argv ...string) {
	t.Helper()
	cmd := exec.Command(program, argv...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, argv, err, out)
	}
}
