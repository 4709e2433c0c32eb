package atomicfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

type entry struct{ N int }

func load(t *testing.T, fsys atomicfile.FS) (entry, bool) {
	t.Helper()
	var e entry
	previous, err := atomicfile.LoadRecord(fsys, "r", &e)
	if err != nil {
		t.Fatal(err)
	}
	return e, previous
}

func save(t *testing.T, fsys atomicfile.FS, n int) {
	t.Helper()
	if err := atomicfile.SaveRecord(fsys, "r", entry{n}); err != nil {
		t.Fatal(err)
	}
}

func TestRecordComesBack(t *testing.T) {
	d := powercut.New()
	for n := range 3 {
		save(t, d, n)
		if e, previous := load(t, d); e.N != n || previous {
			t.Fatalf("got %v, previous %v", e, previous)
		}
	}
}

func TestALargeRecordIsRefused(t *testing.T) {
	d := powercut.New()
	save(t, d, 1)
	if err := atomicfile.SaveRecord(d, "r", strings.Repeat("x", 256<<10)); err == nil {
		t.Error("saved what cannot be loaded")
	}
	if e, previous := load(t, d); e.N != 1 || previous {
		t.Errorf("got %v, previous %v", e, previous)
	}
}

func TestDamagedRecordGivesTheGenerationBefore(t *testing.T) {
	whole := atomicfile.Seal([]byte(`{"N":1}`))
	for _, damage := range [][]byte{{}, make([]byte, 20), whole[:len(whole)-1], []byte("{}"), bytes.Replace(whole, []byte("1"), []byte("2"), 1)} {
		d := powercut.New()
		save(t, d, 7)
		save(t, d, 8)
		d.Put("r", damage)
		if e, previous := load(t, d); e.N != 7 || !previous {
			t.Fatalf("%q: got %v, previous %v", damage, e, previous)
		}
		save(t, d, 9) // must not make the damaged one the generation before
		d.Put("r", damage)
		if e, _ := load(t, d); e.N != 7 {
			t.Fatalf("%q: the damaged one was kept: %v", damage, e)
		}
	}
}

func TestNoRecordAndNoneWhole(t *testing.T) {
	d, e := powercut.New(), entry{}
	if _, err := atomicfile.LoadRecord(d, "r", &e); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	d.Put("r.prev", []byte("x"))
	if _, err := atomicfile.LoadRecord(d, "r", &e); !errors.Is(err, atomicfile.ErrCorrupt) {
		t.Errorf("a damaged previous one alone: %v", err)
	}
	d.Put("r", []byte("y"))
	if _, err := atomicfile.LoadRecord(d, "r", &e); !errors.Is(err, atomicfile.ErrCorrupt) {
		t.Errorf("both damaged: %v", err)
	}
	d.Put("r", atomicfile.Seal([]byte("no JSON")))
	if _, err := atomicfile.LoadRecord(d, "r", &e); !errors.Is(err, atomicfile.ErrCorrupt) {
		t.Errorf("a whole one that is no JSON: %v", err)
	}
}

// TestRecordWithoutSecondNames is vfat: link(2) fails with EPERM.
func TestRecordWithoutSecondNames(t *testing.T) {
	d := powercut.New()
	d.Fault(func(call, _ string) error {
		if call == "link" {
			return unix.EPERM
		}
		return nil
	})
	save(t, d, 1)
	save(t, d, 2)
	d.Put("r", []byte("torn"))
	if e, previous := load(t, d); e.N != 1 || !previous {
		t.Fatalf("got %v, previous %v", e, previous)
	}
}

// TestPowerCutKeepsARecord cuts the power at every call of three saves: what
// was saved last is there afterwards, or the one before if the medium lied
// about its newest sync.
func TestPowerCutKeepsARecord(t *testing.T) {
	for n := 1; ; n++ {
		d, saved := powercut.New(), 0
		if err := atomicfile.SaveRecord(d, "r", entry{0}); err != nil {
			t.Fatal(err)
		}
		save(t, d, 1)
		d.CutAt(d.Calls() + n)
		for saved = 1; saved < 4 && !d.Off(); saved++ {
			if err := atomicfile.SaveRecord(d, "r", entry{saved + 1}); err != nil {
				break
			}
		}
		for lies, least := range map[bool]int{false: saved, true: saved - 1} {
			for after := range d.After(lies) {
				if e, _ := load(t, after); e.N < least {
					t.Fatalf("cut at call %d: %d was saved, %d is found in\n%v", n, saved, e.N, after)
				}
			}
		}
		if !d.Off() {
			return
		}
	}
}

func TestSealIsUndoneByUnseal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := []byte(rapid.StringMatching(`[^\n]{0,200}`).Draw(t, "line"))
		sealed := atomicfile.Seal(line)
		got, ok := atomicfile.Unseal(sealed)
		if !ok || !bytes.Equal(got, line) {
			t.Fatalf("got %q, %v", got, ok)
		}
		at, bit := rapid.IntRange(0, len(sealed)-1).Draw(t, "at"), rapid.IntRange(0, 7).Draw(t, "bit")
		sealed[at] ^= 1 << bit
		if got, ok := atomicfile.Unseal(sealed); ok && !bytes.Equal(got, line) {
			t.Fatalf("one bit changed: took %q for whole", got)
		}
	})
}

func FuzzUnseal(f *testing.F) {
	f.Add([]byte("{}\n00000000"))
	f.Add(atomicfile.Seal([]byte(`{"fmt":1}`)))
	f.Add(atomicfile.Seal(nil))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		line, ok := atomicfile.Unseal(data)
		if ok && !bytes.Equal(atomicfile.Seal(line), data) {
			t.Fatalf("%q is whole, yet not what Seal makes", data)
		}
	})
}

// A journal notes the order of what names files and what makes names durable.
type journal struct {
	*powercut.Disk
	said []string
}

func (j *journal) Rename(oldname, newname string) error {
	j.said = append(j.said, "rename "+newname)
	return j.Disk.Rename(oldname, newname)
}

func (j *journal) SyncDir(dir string) error {
	j.said = append(j.said, "sync")
	return j.Disk.SyncDir(dir)
}

// TestGenerationBeforeIsDurableFirst: a cut must not leave the newest record
// beside the generation before the one before.
func TestGenerationBeforeIsDurableFirst(t *testing.T) {
	j := &journal{Disk: powercut.New()}
	save(t, j.Disk, 7)
	if err := atomicfile.SaveRecord(j, "r", entry{8}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(j.said, ", "), "rename r.prev, sync, rename r, sync"; got != want {
		t.Errorf("did %s, want %s", got, want)
	}
}
