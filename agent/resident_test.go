package agent

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestReadOnlyMappingsOfTheProgramAlone(t *testing.T) {
	maps := []byte(`00010000-00400000 r-xp 00000000 fe:00 77 /usr/bin/spoke-zone-agent
00400000-00800000 r--p 003f0000 fe:00 77 /usr/bin/spoke-zone-agent
00800000-00880000 rw-p 007f0000 fe:00 77 /usr/bin/spoke-zone-agent
00880000-008a0000 rw-p 00000000 00:00 0
00900000-00910000 r-xs 00000000 fe:00 77 /usr/bin/spoke-zone-agent
00a00000-00b00000 r--p 00000000 fe:00 78 /usr/bin/other
00c00000-00d00000 r-xp 00000000 fe:00 77 /usr/bin/spoke-zone-agent (deleted)
zz000000-00f00000 r-xp 00000000 fe:00 77 /usr/bin/spoke-zone-agent
7ffe0000-7ffe2000 r-xp 00000000 00:00 0 [vdso]
`)
	want := []mapping{{0x10000, 0x400000}, {0x400000, 0x800000}}
	for anywhere, want := range map[bool][]mapping{false: want, true: want[:1]} {
		if got := readOnlyMappings(maps, "/usr/bin/spoke-zone-agent", anywhere); !slices.Equal(got, want) {
			t.Errorf("loaded anywhere %v: got %x, want %x", anywhere, got, want)
		}
	}
}

func TestProgramThatIsLoadedAnywhere(t *testing.T) {
	ident := "\x7fELF" + strings.Repeat("\x00", 12)
	for header, want := range map[string]bool{"\x02\x00": false, "\x03\x00": true, "\x00\x02": false, "\x00\x03": true} {
		name := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(name, []byte(ident+header), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := loadedAnywhere(name); got != want || err != nil {
			t.Errorf("type %x: %v, %v", header, got, err)
		}
	}
	if _, err := loadedAnywhere(os.DevNull); err == nil {
		t.Error("nothing is a program")
	}
}

// TestTheProgramRunsOnWithoutItsUnusedPages gives back the pages of this very
// test, and goes on.
func TestTheProgramRunsOnWithoutItsUnusedPages(t *testing.T) {
	before := residentFile(t)
	program, err := ownMappings()
	if err != nil || len(program) == 0 {
		t.Fatalf("%d mappings of the program: %v", len(program), err)
	}
	if err := part(program); err != nil {
		t.Fatal(err)
	}
	if err := release(program); err != nil {
		t.Fatal(err)
	}
	after := residentFile(t)
	t.Logf("%d kB of files resident, %d kB afterwards", before, after)
	if after >= before {
		t.Errorf("nothing was given back: %d kB before, %d kB after", before, after)
	}
}

// residentFile is RssFile of proc_pid_status(5), in kB.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^RssFile:\s+(\d+) kB$`).FindSubmatch(status)
	if found == nil {
		t.Fatal("no RssFile")
	}
	n, _ := strconv.Atoi(string(found[1]))
	return n
}
