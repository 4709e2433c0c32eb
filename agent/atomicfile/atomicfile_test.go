package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

func TestWriteReplacesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, want := range []string{"old", "", "a longer text"} {
		if err := atomicfile.Write(path, []byte(want), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestWriteFollowsNoLinkLeftInItsWay(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "f")
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Symlink(victim, path+".tmp")); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(victim); string(got) != "precious" {
		t.Fatalf("written through the link: %q", got)
	}
}

func TestWriteWithoutADirectory(t *testing.T) {
	err := atomicfile.Write(filepath.Join(t.TempDir(), "no", "f"), nil, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

// TestFaultLeavesTheOldFile has each call fail in turn.
func TestFaultLeavesTheOldFile(t *testing.T) {
	for _, fault := range []error{unix.EIO, unix.ENOSPC, unix.EROFS} {
		for _, call := range []string{"create", "write", "sync", "rename", "syncdir"} {
			t.Run(call+" "+fault.Error(), func(t *testing.T) {
				d := powercut.New()
				d.Put("f", []byte("old"))
				d.Fault(func(c, _ string) error {
					if c == call {
						return fault
					}
					return nil
				})
				if err := atomicfile.WriteFS(d, "f", []byte("new"), 0o600); !errors.Is(err, fault) {
					t.Fatalf("got %v, want %v", err, fault)
				}
				want := "old"
				if call == "syncdir" { // renamed already; the caller knows that it may be lost
					want = "new"
				}
				if got, _ := d.ReadFile("f"); string(got) != want {
					t.Errorf("holds %q, want %q", got, want)
				}
				if _, err := d.ReadFile("f.tmp"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("f.tmp left behind: %v", err)
				}
			})
		}
	}
}

// TestPowerCutLeavesOldOrNew cuts the power at every call of Write.
func TestPowerCutLeavesOldOrNew(t *testing.T) {
	old, fresh := string(make([]byte, 3*powercut.Sector)), "new"
	for n := 1; ; n++ {
		d := powercut.New()
		d.Put("f", []byte(old))
		d.CutAt(n)
		err := atomicfile.WriteFS(d, "f", []byte(fresh), 0o600)
		for after := range d.After(false) {
			if got, rerr := after.ReadFile("f"); rerr != nil || string(got) != old && string(got) != fresh {
				t.Fatalf("cut at call %d: %q, %v", n, got, rerr)
			}
		}
		if err == nil {
			if n < 6 {
				t.Fatalf("Write made %d calls only", n-1)
			}
			return
		}
	}
}
