package ota

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRoomKeepsTheLastOutcomesAndDenials(t *testing.T) {
	disk := newMemFS("/s")
	r, err := openRoom(disk, "/s", "app")
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 70; i++ {
		f := file(fmt.Sprint(i), fmt.Sprintf("1.%d", i))
		if err := r.begin(f, "1.0", Fetch); err != nil {
			t.Fatal(err)
		}
		if err := r.move(Downloading, nil); err != nil {
			t.Fatal(err)
		}
		d := denial{ID: f.ID, Version: f.Version, Reason: "x", Listing: "l"}
		if err := r.end(Failed, "x", &d); err != nil {
			t.Fatal(err)
		}
	}
	done, _ := disk.ReadDir("/s/app/done")
	if len(done) != keepDone || done[0] != "00000051.json" || done[19] != "00000070.json" {
		t.Errorf("outcomes: %v", done)
	}
	denied, err := r.denied()
	if err != nil || len(denied) != maxDenied || denied[maxDenied-1].ID != "70" {
		t.Errorf("%d denials, %v", len(denied), err)
	}
	if got := r.outcome(); got != "1.70 FAILED: x" {
		t.Errorf("outcome %q", got)
	}
	if err := disk.Remove("/s/app/state"); err != nil { // and numbers are not used twice
		t.Fatal(err)
	}
	if err := disk.Remove("/s/app/state.prev"); err != nil {
		t.Fatal(err)
	}
	if r, err = openRoom(disk, "/s", "app"); err != nil {
		t.Fatal(err)
	}
	if err := r.begin(file("1", "1.1"), "1.0", Fetch); err != nil {
		t.Fatal(err)
	}
	if r.rec.Seq != 71 {
		t.Errorf("the next transaction is %d, want 71", r.rec.Seq)
	}
}

func TestRoomRefusesWhatTheTableDoesNotAllow(t *testing.T) {
	r, err := openRoom(newMemFS("/s"), "/s", "app")
	if err != nil {
		t.Fatal(err)
	}
	for p := range numPhases {
		for q := range numPhases {
			r.rec.State = p
			if err := r.move(q, nil); (err == nil) != p.MayBecome(q) {
				t.Errorf("%v to %v: %v", p, q, err)
			}
		}
	}
}

func TestRoomRemovesWhatACrashLeft(t *testing.T) {
	disk := newMemFS("/s", "/s/app/txn/00000009-7/hook/deep")
	for _, name := range []string{"/s/app/state.tmp", "/s/app/txn/00000009-7/part", "/s/app/txn/00000009-7/hook/deep/x"} {
		if _, err := disk.OpenFile(name, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openRoom(disk, "/s", "app"); err != nil {
		t.Fatal(err)
	}
	for name := range disk.names {
		if strings.HasSuffix(name, ".tmp") || strings.Contains(name, "00000009") {
			t.Errorf("still there: %s", name)
		}
	}
}

func TestDenialHolds(t *testing.T) {
	f := file("7", "1.1")
	for _, test := range []struct {
		name string
		d    denial
		want bool
	}{
		{"the same listing", denial{ID: "7", Version: "1.1", Listing: "a"}, true},
		{"another listing", denial{ID: "7", Version: "1.1", Listing: "b"}, false},
		{"another id", denial{ID: "8", Version: "1.1", Listing: "a"}, false},
		{"another version", denial{ID: "7", Version: "1.2", Listing: "a"}, false},
		{"until later", denial{ID: "7", Version: "1.1", Until: noon.Add(time.Hour)}, true},
		{"until now", denial{ID: "7", Version: "1.1", Until: noon}, false},
		{"for good", denial{ID: "7", Version: "1.1", Forever: true}, true},
		{"until there is room", denial{ID: "7", Version: "1.1", Until: noon.Add(time.Hour), Need: 101}, true},
		{"there is room", denial{ID: "7", Version: "1.1", Until: noon.Add(time.Hour), Need: 100}, false},
		{"by a clock of the next century", denial{ID: "7", Version: "1.1", Until: noon.AddDate(80, 0, 0)}, false},
	} {
		if got := test.d.holds(f, "a", noon, 100); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	a, b := file("1", "1"), file("2", "2")
	if fingerprint([]File{a, b}) != fingerprint([]File{b, a}) {
		t.Error("the catalogue's order changes its fingerprint")
	}
	b.Released = b.Released.AddDate(20_000, 0, 0) // no JSON date
	if fingerprint([]File{a, b}) == fingerprint([]File{a}) {
		t.Error("a file does not change the fingerprint")
	}
}

func TestSpaceIsLeftForOthers(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name        string
		space       Space
		total, have int64
		want        string
		extra       int64
	}{
		{"plenty", Space{Free: 1000 * mib, Size: 2000 * mib, Inodes: -1}, 100 * mib, 0, "", 0},
		{"just enough beside 5 %", Space{Free: 200 * mib, Size: 2000 * mib, Inodes: 100}, 100 * mib, 0, "", 0},
		{"one byte short", Space{Free: 200*mib - 1, Size: 2000 * mib, Inodes: 100}, 100 * mib, 0, "must stay free", 0},
		{"most is there already", Space{Free: 110 * mib, Size: 2000 * mib, Inodes: 100}, 100 * mib, 95 * mib, "", 0},
		{"small disk keeps 16 MiB", Space{Free: 17 * mib, Size: 20 * mib, Inodes: 100}, 2 * mib, 0, "16.0 MiB must stay free", 0},
		{"no files left", Space{Free: 1000 * mib, Size: 2000 * mib, Inodes: 3}, mib, 0, "3 files", 0},
		{"10 GB", Space{Free: 1000 * mib, Size: 2000 * mib, Inodes: 100}, 10e9, 0, "needs 9.3 GiB", 0},
		{"as much as a number holds", Space{Free: math.MaxInt64, Size: math.MaxInt64, Inodes: -1}, math.MaxInt64, 0, "must stay free", 0},
		{"what the hook needs", Space{Free: 200 * mib, Size: 2000 * mib, Inodes: 100}, 50 * mib, 0, "", 50 * mib},
		{"and a byte more", Space{Free: 200 * mib, Size: 2000 * mib, Inodes: 100}, 50 * mib, 0, "must stay free", 50*mib + 1},
		{"too much for a number", Space{Free: math.MaxInt64, Size: mib, Inodes: 100}, math.MaxInt64, 0, "must stay free", maxExtra},
		{"unknown length", Space{Free: 100 * mib, Size: 2000 * mib, Inodes: 100}, -1, 50 * mib, "", 0},
		{"unknown length on a full disk", Space{Free: 99 * mib, Size: 2000 * mib, Inodes: 100}, -1, 50 * mib, "must stay free", 0},
	} {
		err := test.space.admit(test.total, test.have, test.extra)
		if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || !full(err)) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func TestDiskDoesWhatItSays(t *testing.T) {
	dir := t.TempDir()
	var d Disk
	if s, err := d.Space(dir); err != nil || s.Free <= 0 || s.Size < s.Free {
		t.Errorf("space: %+v, %v", s, err)
	}
	if _, err := d.Space(filepath.Join(dir, "none")); err == nil {
		t.Error("space of nothing")
	}
	if err := d.Mkdir(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := d.Mkdir(filepath.Join(dir, "a")); err != nil {
		t.Error(err)
	}
	path := filepath.Join(dir, "a", "f")
	if _, err := d.OpenFile(path, false); err == nil {
		t.Error("opened what is not there")
	}
	f, err := d.OpenFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Allocate(1 << 20); err != nil {
		t.Error(err)
	}
	if n, err := f.Size(); n != 0 || err != nil {
		t.Errorf("reserving changes the length to %d, %v", n, err)
	}
	if _, err := f.WriteAt([]byte("hello"), 0); err != nil {
		t.Error(err)
	}
	f.WriteBack(0, 5)
	if err := f.Datasync(); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	if n, err := f.Size(); n != 5 || err != nil {
		t.Errorf("length %d, %v", n, err)
	}
	if names, err := d.ReadDir(dir); err != nil || len(names) != 1 || names[0] != "a" {
		t.Errorf("names %v, %v", names, err)
	}
	if err := f.Allocate(1 << 60); err == nil {
		t.Error("reserved more than there is")
	}
}
