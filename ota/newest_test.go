package ota

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func file(id, version string) File {
	return File{ID: id, Module: "app", Version: Version(version), Active: true}
}

func on(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }

func TestNewest(t *testing.T) {
	tests := []struct {
		name      string
		files     []File
		installed Version
		downgrade bool
		want      string // id
	}{
		{"nothing listed", nil, "1.0", false, ""},
		{"a newer one", []File{file("1", "1.0"), file("2", "1.1")}, "1.0", false, "2"},
		{"not as strings", []File{file("1", "1.9"), file("2", "1.10")}, "1.0", false, "2"},
		{"the same", []File{file("1", "v1.0.0")}, "1.0", false, ""},
		{"the same, downgrade allowed", []File{file("1", "v1.0.0")}, "1.0", true, ""},
		{"older only", []File{file("1", "0.9")}, "1.0", false, ""},
		{"older only, downgrade allowed", []File{file("1", "0.9"), file("2", "0.8")}, "1.0", true, "1"},
		{"newer and older, downgrade allowed", []File{file("1", "0.9"), file("2", "1.1")}, "1.0", true, "2"},
		{"installed unknown", []File{file("1", "0")}, "", false, "1"},
		{"inactive", []File{{ID: "1", Module: "app", Version: "2"}}, "1", false, ""},
		{"another module", []File{{ID: "1", Module: "App", Version: "2", Active: true}}, "1", false, ""},
		{"released last", []File{
			{ID: "3", Module: "app", Version: "2", Active: true, Released: on(1), Created: on(9)},
			{ID: "2", Module: "app", Version: "2.0", Active: true, Released: on(2)},
		}, "1", false, "2"},
		{"created last", []File{
			{ID: "2", Module: "app", Version: "2", Active: true, Created: on(2)},
			{ID: "3", Module: "app", Version: "2", Active: true, Created: on(1)},
		}, "1", false, "2"},
		{"highest id", []File{file("9", "2"), file("10", "2"), file("1", "2")}, "1", false, "10"},
		{"unsafe one passed over", []File{file("9", "../2"), file("10", "1.5")}, "1", false, "10"},
	}
	for _, test := range tests {
		f, ok := Newest(test.files, "app", test.installed, test.downgrade)
		if f.ID != test.want || ok != (test.want != "") {
			t.Errorf("%s: got %q, %v, want %q", test.name, f.ID, ok, test.want)
		}
	}
}

func TestNewestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) File {
			return File{
				ID:       rapid.SampledFrom([]string{"1", "2", "10", "a1", "07", "7"}).Draw(t, "id"),
				Module:   rapid.SampledFrom([]string{"app", "os"}).Draw(t, "module"),
				Version:  versions().Draw(t, "version"),
				Active:   rapid.IntRange(0, 3).Draw(t, "active") > 0,
				Released: on(rapid.IntRange(1, 2).Draw(t, "released")),
			}
		}), 0, 6).Draw(t, "files")
		installed, down := versions().Draw(t, "installed"), rapid.Bool().Draw(t, "downgrade")
		f, ok := Newest(files, "app", installed, down)
		rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		if g, ok2 := Newest(files, "app", installed, down); f != g || ok != ok2 {
			t.Fatalf("the catalogue's order matters: %v %v", f, g)
		}
		for _, g := range files {
			if g.Active && g.Module == "app" && g.Check() == nil && g.Version.Compare(installed) > 0 &&
				(!ok || g.Version.Compare(f.Version) > 0) {
				t.Fatalf("%v is newer than %v, from %q", g, f, installed)
			}
		}
		if !ok {
			return
		}
		c := f.Version.Compare(installed)
		if !f.Active || f.Module != "app" || f.Check() != nil || c == 0 || c < 0 && !down {
			t.Fatalf("got %v from %q", f, installed)
		}
		if g, again := Newest(files, "app", f.Version, down); again {
			t.Fatalf("installing %v leaves %v", f, g)
		}
	})
}

func TestHostileNamesAreRefused(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, test := range []struct {
		what string
		file File
	}{
		{"module", File{ID: "1", Module: "../app", Version: "1"}},
		{"module", File{ID: "1", Module: "", Version: "1"}},
		{"id", File{ID: "../../etc/passwd", Module: "app", Version: "1"}},
		{"id", File{ID: "..", Module: "app", Version: "1"}},
		{"id", File{ID: "a..b", Module: "app", Version: "1"}},
		{"id", File{ID: "", Module: "app", Version: "1"}},
		{"id", File{ID: ".hidden", Module: "app", Version: "1"}},
		{"id", File{ID: "1\x00", Module: "app", Version: "1"}},
		{"id", File{ID: long, Module: "app", Version: "1"}},
		{"version", File{ID: "1", Module: "app", Version: "1/2"}},
		{"version", File{ID: "1", Module: "app", Version: `1\2`}},
		{"version", File{ID: "1", Module: "app", Version: "1..2"}},
		{"version", File{ID: "1", Module: "app", Version: "1\n2"}},
		{"version", File{ID: "1", Module: "app", Version: "1\x1b[2J"}},
		{"version", File{ID: "1", Module: "app", Version: "1\u202e2"}},
		{"version", File{ID: "1", Module: "app", Version: "\xff1"}},
		{"version", File{ID: "1", Module: "app", Version: "--"}},
		{"version", File{ID: "1", Module: "app", Version: Version(long)}},
		{"notes", File{ID: "1", Module: "app", Version: "1", Notes: "\x1b[31m"}},
		{"notes", File{ID: "1", Module: "app", Version: "1", Notes: long}},
	} {
		err := test.file.Check()
		if !errors.Is(err, ErrName) {
			t.Errorf("%s of %.60q...: got %v, want ErrName", test.what, fmt.Sprint(test.file), err)
			continue
		}
		if !strings.Contains(err.Error(), test.what) || len(err.Error()) > 500 {
			t.Errorf("the error does not name the %s in a line: %.300s", test.what, err)
		}
	}
	plain := File{ID: "12345", Module: "can-controller1", Version: "2026-01-02 rc.1+g12", Notes: "see https://example.com/a/../b\n\t* größer"}
	if err := plain.Check(); err != nil {
		t.Errorf("a plain file: %v", err)
	}
}
