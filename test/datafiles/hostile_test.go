//go:build integration

package datafiles

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const secret = "root:$6$this-is-what-nobody-may-read"

// plant puts what must not be read or sent into the drop box and beside the
// collected log.
func (g *gateway) plant(dir string) {
	g.t.Helper()
	hidden := g.path("shadow")
	g.must(os.WriteFile(hidden, []byte(secret+"\n"), 0o600))
	in := func(name string) string { return filepath.Join(dir, name) }
	g.must(os.Symlink(hidden, in("link.log")))
	g.must(os.Symlink("/etc/shadow", in("shadow.log")))
	g.must(os.Symlink(g.path("etc"), in("etc")))
	g.must(os.Link(hidden, in("hard.log")))
	g.must(unix.Mkfifo(in("fifo.log"), 0o644))
	l, err := net.Listen("unix", in("socket.log"))
	g.must(err)
	g.t.Cleanup(func() { l.Close() })
	g.must(os.WriteFile(in("con\x1b[2Jtrol.log"), []byte(secret+"\n"), 0o644))
	g.must(os.WriteFile(in("new\nline.log"), []byte(secret+"\n"), 0o644))
	g.must(os.WriteFile(in("latin\xe9.log"), []byte(secret+"\n"), 0o644))
	if os.Geteuid() == 0 {
		g.must(unix.Mknod(in("device.log"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5)))) // /dev/zero, which never ends
	}
	deep := in("deep")
	for range 40 {
		deep = filepath.Join(deep, strings.Repeat("d", 60))
	}
	g.must(os.MkdirAll(deep, 0o755))
	g.must(os.WriteFile(filepath.Join(deep, "deep.log"), []byte(secret+"\n"), 0o644))
}

// plantLogs is plant for a directory of logs, which has a log of its own.
func (g *gateway) plantLogs(dir string) {
	g.t.Helper()
	g.must(os.Symlink(g.path("shadow"), filepath.Join(dir, "link.log")))
	g.must(os.Symlink("/etc/shadow", filepath.Join(dir, "shadow.log")))
	g.must(unix.Mkfifo(filepath.Join(dir, "fifo.log"), 0o644))
	g.must(os.Link(g.path("shadow"), filepath.Join(dir, "hard.log")))
	g.must(os.WriteFile(filepath.Join(dir, "app.log"), []byte("a line\n"), 0o644))
}

// swap exchanges a file for a link to the secret, a second name of it and a
// pipe, as fast as it can, until stop is closed.
func (g *gateway) swap(dir string, stop <-chan struct{}) error {
	at, hidden := filepath.Join(dir, "swap.log"), g.path("shadow")
	tmp := filepath.Join(dir, ".swap")
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		err := os.Remove(tmp)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			switch i % 6 {
			case 1:
				err = os.Symlink(hidden, tmp)
			case 3:
				err = os.Link(hidden, tmp)
			case 5:
				err = unix.Mkfifo(tmp, 0o644)
			default:
				err = os.WriteFile(tmp, []byte("harmless\n"), 0o644)
			}
		}
		if err == nil {
			err = os.Rename(tmp, at)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		time.Sleep(time.Duration(i%7) * time.Millisecond) // so that it is found in each of its forms
	}
}

// TestAHostileDropBox has HOSTILE_FILES good files among links, pipes, sockets,
// devices, names that do not print, deep directories, and files that are
// exchanged while they are looked at.
func TestAHostileDropBox(t *testing.T) {
	t.Parallel()
	n := full("HOSTILE_FILES", 300)
	g := newGateway(t, newRandom(t), `[collect.app]
files    = %[1]s/log/*
interval = 1s
`)
	g.plant(g.path("spool/log"))
	g.plantLogs(g.path("log"))
	for i := range n {
		name := fmt.Sprintf("good-%05d.log", i)
		g.must(os.WriteFile(g.path("spool/log/"+name), []byte(name+"\n"), 0o644))
	}
	g.start()
	peak := g.memory()
	stop := make(chan struct{})
	var work errgroup.Group
	for _, dir := range []string{"spool/log", "log"} {
		work.Go(func() error { return g.swap(g.path(dir), stop) })
	}
	arrived := func() (good int) {
		for _, f := range g.cloud.Uploads() {
			if strings.HasPrefix(f.Name, "good-") {
				good++
			}
		}
		return good
	}
	g.until("all good files", 20*time.Minute, func() bool { return arrived() >= n })
	time.Sleep(3 * time.Second) // for the swapped ones, of which none need come
	close(stop)
	g.must(work.Wait())
	most := peak()
	s := g.status()
	g.stop()
	if got := arrived(); got != n {
		t.Errorf("%d good files at the cloud, want %d", got, n)
	}
	for _, f := range g.cloud.Uploads() {
		if bytes.Contains(f.Content, []byte("root:")) || f.Size > 1<<20 {
			t.Errorf("%s came to the cloud: %d bytes, %.60q", f.Name, f.Size, f.Content)
		}
		if f.Puts != 1 {
			t.Errorf("%s came %d times", f.Name, f.Puts)
		}
	}
	if err := g.grep(g.path("state"), secret); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"link.log", "hard.log", "fifo.log", "socket.log", "con\x1b[2Jtrol.log"} {
		if _, err := os.Lstat(g.path("spool/log/" + name)); err != nil {
			t.Errorf("left its place: %v", err)
		}
	}
	if len(s.Problems) == 0 {
		t.Error("status knows of no problem")
	}
	t.Logf("%d files; status: %d problems", n, len(s.Problems))
	most.judge(t)
}

// grep is an error if a file below dir holds text.
func (g *gateway) grep(dir, text string) error {
	out, err := exec.Command("grep", "-rlaF", "--", text, dir).Output()
	if err == nil {
		return fmt.Errorf("is in %s", out)
	}
	return nil
}

// TestAFullDisk runs the agent on a file system of its own, which is full: what
// is dropped waits where it is, and arrives once there is room.
func TestAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	t.Parallel()
	g := newGateway(t, newRandom(t), collectSettings)
	g.via = []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", `mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"`, g.path("state")}
	g.start()
	g.until("the agent is up", time.Minute, func() bool { return g.status().MQTT.State == "online" })
	state := fmt.Sprintf("/proc/%d/root%s", g.cmd.Process.Pid, g.path("state"))
	filler := filepath.Join(state, "filler")
	f, err := os.Create(filler)
	g.must(err)
	for block := make([]byte, 64<<10); ; {
		if _, err = f.Write(block); err != nil {
			break
		}
	}
	f.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	peak := g.memory()
	want := map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("full-%02d.log", i)
		want[name] = strings.Repeat(name+"\n", 500)
		g.must(os.WriteFile(g.path("spool/log/"+name), []byte(want[name]), 0o644))
	}
	log := strings.Repeat("a line of the log\n", 100)
	g.must(os.WriteFile(g.path("log/app.log"), []byte(log), 0o644))
	g.until("status says that the disk is full", time.Minute, func() bool {
		s := g.status()
		return len(s.Upload.Collect) == 1 && strings.Contains(s.Upload.Collect[0].Error, "no space") && strings.Contains(strings.Join(s.Problems, "\n"), "spool file")
	})
	if got := g.cloud.Uploads(); len(got) != 0 {
		t.Errorf("%d files came from a full disk", len(got))
	}
	g.must(os.Remove(filler))
	// Sooner than the look that comes anyway every five minutes.
	g.until("all arrive once there is room", 4*time.Minute, func() bool { return len(g.cloud.Uploads()) > len(want) })
	most := peak()
	g.stop()
	collected := ""
	for _, f := range g.cloud.Uploads() {
		if strings.HasPrefix(f.Name, "app.") {
			collected += string(f.Content)
			continue
		}
		if string(f.Content) != want[f.Name] || f.Puts != 1 {
			t.Errorf("%s: %d bytes, %d times", f.Name, f.Size, f.Puts)
		}
		delete(want, f.Name)
	}
	if len(want) > 0 || collected != log {
		t.Errorf("missing %d files; collected %d bytes, want %d", len(want), len(collected), len(log))
	}
	most.judge(t)
}
