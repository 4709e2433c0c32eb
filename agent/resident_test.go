package agent

import (
	"os"
	"regexp"
	"slices"
	"strconv"
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
	if got := readOnlyMappings(maps, "/usr/bin/spoke-zone-agent"); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
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
