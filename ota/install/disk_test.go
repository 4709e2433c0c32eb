package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// A broken disk is the system's until a call at which it is full, or at which
// the process that makes it dies.
type broken struct {
	at    int // which call, from 1
	calls int
	die   func() // nil: the disk is full
	over  bool   // a process that has died does nothing more
	once  bool   // there is room again after one call
}

var errDead = errors.New("the process is dead")

func (b *broken) call() error {
	b.calls++
	switch {
	case b.over || b.calls == b.at && b.die != nil:
		if !b.over {
			b.over = true
			b.die()
		}
		return errDead
	case b.die == nil && (b.calls == b.at || b.calls > b.at && !b.once):
		return unix.ENOSPC
	}
	return nil
}

// grows is a call that a full disk refuses; others need no room.
func (b *broken) grows(do func() error) error {
	if err := b.call(); err != nil {
		return err
	}
	return do()
}

func (b *broken) shrinks(do func() error) error {
	if err := b.call(); err != nil && !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return do()
}

func (b *broken) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }
func (b *broken) Link(from, to string) error {
	return b.grows(func() error { return os.Link(from, to) })
}
func (b *broken) Rename(from, to string) error {
	return b.grows(func() error { return os.Rename(from, to) })
}
func (b *broken) Remove(name string) error {
	return b.shrinks(func() error { return os.Remove(name) })
}
func (b *broken) SyncDir(dir string) error {
	return b.grows(func() error { return atomicfile.OS{}.SyncDir(dir) })
}
func (b *broken) MkdirAll(name string, perm os.FileMode) error {
	return b.grows(func() error { return os.MkdirAll(name, perm) })
}
func (b *broken) RemoveAll(name string) error {
	return b.shrinks(func() error { return os.RemoveAll(name) })
}
func (b *broken) RemoveIn(dir *os.Root, name string) error {
	return b.shrinks(func() error { return dir.RemoveAll(name) })
}
func (b *broken) Create(name string, perm os.FileMode) (f atomicfile.File, err error) {
	err = b.grows(func() error { f, err = atomicfile.OS{}.Create(name, perm); return err })
	return brokenFile{b, f}, err
}

type brokenFile struct {
	disk *broken
	atomicfile.File
}

func (f brokenFile) Write(p []byte) (n int, err error) {
	if err := f.disk.call(); err != nil {
		n, _ = f.File.Write(p[:len(p)/2]) // torn
		return n, err
	}
	return f.File.Write(p)
}
func (f brokenFile) Sync() error { return f.disk.grows(f.File.Sync) }

// faultFile tells the process that runs a hook how its disk breaks, once.
const faultFile = "INSTALL_TEST_FAULT"

func breakDisk() {
	name := os.Getenv(faultFile)
	text, err := os.ReadFile(name)
	if name == "" || err != nil || os.Remove(name) != nil {
		return
	}
	b := &broken{}
	kind := ""
	if _, err := fmt.Sscan(string(text), &b.at, &kind); err != nil {
		panic(err)
	}
	if kind == "dies" {
		b.die = func() { os.Exit(9) }
	}
	disk = b
}

// TestNoRequestIsLostOrDoneTwice breaks the disk at each call that changes it:
// of the installer, and of the process that runs the hook.
func TestNoRequestIsLostOrDoneTwice(t *testing.T) {
	t.Cleanup(func() { disk = system{} })
	for _, kind := range []string{"dies", "is full once", "is full"} {
		t.Run("the installer "+kind, func(t *testing.T) {
			for n := 1; ; n++ {
				b := newBench(t)
				faulty := &broken{at: n, once: kind == "is full once"}
				if kind == "dies" {
					faulty.die = func() {}
				}
				b.survives(n, func() {
					disk = faulty
					_ = b.in.Run(context.Background())
					disk = system{}
				})
				if t.Failed() {
					return
				}
				if faulty.calls < n {
					if n < 30 {
						t.Errorf("only %d calls", faulty.calls)
					}
					return
				}
			}
		})
	}
	for _, kind := range []string{"dies", "isfull"} {
		t.Run("the hook's process "+kind, func(t *testing.T) {
			for n := 1; n <= 12; n++ {
				b := newBench(t)
				t.Setenv(faultFile, b.path("fault"))
				b.survives(n, func() {
					b.write("fault", fmt.Appendln(nil, n, kind))
					_ = b.in.Run(context.Background())
				})
				if exists(b.path("fault")) {
					t.Error("nothing was broken")
				}
			}
		})
	}
}

// survives asks for an installation, meets the fault of the n-th call, and runs
// the installer again, which has no fault.
func (b *bench) survives(n int, fault func()) {
	b.Helper()
	what := fmt.Sprint("call ", n)
	up := b.release(1, "1.1.0", "the payload", 5)
	b.client.asked, up.Attempt = nil, 1
	q, _, err := b.client.ask(ota.HookInstall, up)
	must(b.T, err)
	fault()
	must(b.T, b.in.Run(context.Background()))
	a, ok, err := b.in.results().answer(q.key())
	ran := strings.Count(b.read("calls"), "install ")
	switch {
	case err != nil || !ok || a.Nonce != q.Nonce:
		b.Errorf("%s: the request is lost: %+v, %v", what, a, err)
	case ran > 1:
		b.Errorf("%s: installed %d times", what, ran)
	case a.Kind == Ran && (ran != 1 || b.read("installed") != "the payload"):
		b.Errorf("%s: %+v, and %d installations", what, a, ran)
	case a.Kind == Refused && (ran != 0 || a.Code != ota.HookLater && a.Code != ota.HookNoSpace || !strings.Contains(a.Text, "no space left")):
		b.Errorf("%s: %+v, and %d installations", what, a, ran)
	case a.Kind == None:
		b.Errorf("%s: %+v", what, a)
	}
	for _, dir := range []string{"state/jobs", "agent/install"} {
		if left, err := os.ReadDir(b.path(dir)); err != nil || len(left) > 0 {
			b.Errorf("%s: left in %s: %v, %v", what, dir, left, err)
		}
	}
	if marks, err := b.in.results().marks(); err != nil || len(marks) > 0 {
		b.Errorf("%s: marks left: %v, %v", what, marks, err)
	}
	if n%4 != 0 {
		return // a fourth of them is enough
	}
	up.Attempt = 2 // what the daemon does after its probe
	q, _, err = b.client.ask(ota.HookInstall, up)
	must(b.T, err)
	must(b.T, b.in.Run(context.Background()))
	if a, ok, err := b.in.results().answer(q.key()); err != nil || !ok || a.Kind != Ran || a.Code != ota.HookOK {
		b.Errorf("%s: the next attempt: %+v, %v", what, a, err)
	}
}
