package powercut

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// write makes a file by the calls named.
func write(t *testing.T, d *Disk, name, text string, sync bool) {
	t.Helper()
	f, err := d.Create(name, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// found lists what a file may hold after a power cut; "-" if it may be missing.
func found(d *Disk, name string) map[string]bool {
	all := map[string]bool{}
	for after := range d.After(true) {
		data, err := after.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			data = []byte("-")
		}
		all[string(data)] = true
	}
	return all
}

func TestWhatIsNotSyncedMayBeLost(t *testing.T) {
	d := New()
	write(t, d, "a", "text", false)
	if got := found(d, "a"); len(got) != 4 || !got["-"] || !got[""] || !got["text"] || !got["\x00\x00\x00\x00"] {
		t.Fatalf("nothing synced: %v", got)
	}
	if err := d.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	write(t, d, "b", "x", true) // another barrier: the one before is believed
	if got := found(d, "a"); got["-"] || !got[""] {
		t.Fatalf("the name synced: %v", got)
	}
}

func TestWhatIsSyncedStays(t *testing.T) {
	d := New()
	write(t, d, "a", "text", true)
	if err := d.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	write(t, d, "b", "x", true)
	if got := found(d, "a"); len(got) != 1 || !got["text"] {
		t.Fatalf("%v", got)
	}
	if err := d.Rename("b", "a"); err != nil {
		t.Fatal(err)
	}
	if got := found(d, "a"); !got["text"] || !got["x"] || got["-"] {
		t.Fatalf("after a rename: %v", got)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		if got := found(d.Cut(rng, 0), "a"); len(got) != 1 || !got["text"] && !got["x"] {
			t.Fatalf("drawn: %v", got)
		}
	}
}

func TestNewestSyncMayBeALie(t *testing.T) {
	d := New()
	write(t, d, "a", "text", true)
	if err := d.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	if got := found(d, "a"); !got["-"] || !got["text"] || got[""] {
		t.Fatalf("%v", got)
	}
}

func TestNothingHappensWithoutPower(t *testing.T) {
	d := New()
	write(t, d, "a", "text", true)
	if d.Calls() != 3 {
		t.Fatalf("%d calls", d.Calls())
	}
	d.CutAt(5)
	errs := []error{d.Rename("a", "b"), d.Rename("b", "c"), d.SyncDir(".")}
	if errs[0] != nil || !errors.Is(errs[1], ErrOff) || !errors.Is(errs[2], ErrOff) || !d.Off() {
		t.Fatal(errs)
	}
	if got := found(d, "b"); !got["text"] || !got["-"] {
		t.Fatalf("%v", got)
	}
	if got := found(d, "c"); len(got) != 1 || !got["-"] {
		t.Fatalf("%v", got)
	}
}

func TestFullDiskWritesHalf(t *testing.T) {
	d := New()
	d.Fault(func(call, _ string) error {
		if call == "write" {
			return unix.ENOSPC
		}
		return nil
	})
	f, err := d.Create("a", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write([]byte("text")); n != 2 || !errors.Is(err, unix.ENOSPC) {
		t.Fatal(n, err)
	}
	if data, _ := d.ReadFile("a"); string(data) != "te" {
		t.Fatalf("%q", data)
	}
}

func TestAppendedFileKeepsWhatWasSynced(t *testing.T) {
	d := New()
	f, err := d.Create("a", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"text", "more"} {
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if text == "text" {
			if err := errors.Join(f.Sync(), d.SyncDir(".")); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := map[string]bool{}
	for after := range d.After(false) {
		r, err := after.Open("a")
		if err != nil {
			t.Fatal(err)
		}
		n, err := r.Size()
		data := make([]byte, n)
		if _, rerr := r.ReadAt(data, 0); err != nil || rerr != nil {
			t.Fatal(err, rerr)
		}
		got[string(data)] = true
	}
	if len(got) != 3 || !got["text"] || !got["textmore"] || !got["text\x00\x00\x00\x00"] {
		t.Errorf("%v", got)
	}
	if names, err := d.List("."); err != nil || len(names) != 1 || names[0] != "a" {
		t.Errorf("%v, %v", names, err)
	}
}
