package hooks

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

var block = regexp.MustCompile("(?s)\n```sh\n(.*?)```\n")

// TestTutorial does what docs/hooks.md tells a reader to do.
func TestTutorial(t *testing.T) {
	dir := t.TempDir()
	do(t, ".", "go", "build", "-o", filepath.Join(dir, "bin/spoke-zone-agent"), "../../cmd/spoke-zone-agent")
	blocks := block.FindAllStringSubmatch(read(t, "../../docs/hooks.md"), -1)
	if len(blocks) < 4 {
		t.Fatalf("%d blocks in docs/hooks.md", len(blocks))
	}
	for _, b := range blocks {
		cmd := exec.Command("sh", "-eu", "-c", b[1])
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+dir+"/bin:"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, b[1], out)
		}
	}
}

// TestPageHasTheContract compares docs/hooks.md and lib.sh with the code.
func TestPageHasTheContract(t *testing.T) {
	page, lib := read(t, "../../docs/hooks.md"), read(t, "../../packaging/hooks/lib.sh")
	for c := ota.Code(0); c < 100; c++ {
		name := c.String()
		if strings.HasPrefix(name, "exit ") {
			continue
		}
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(strconv.Itoa(int(c))) + ` \| ` + name + ` \|`)
		if !row.MatchString(page) {
			t.Errorf("docs/hooks.md has no row of %d %s", c, name)
		}
		if !regexp.MustCompile(`\b` + name + `=` + strconv.Itoa(int(c)) + `\b`).MatchString(lib) {
			t.Errorf("lib.sh does not have %s=%d", name, c)
		}
	}
	for _, verb := range []ota.Verb{ota.HookInfo, ota.HookCheck, ota.HookProbe, ota.HookInstall, ota.HookVerify, ota.HookCommit, ota.HookRollback, ota.HookCleanup} {
		if !strings.Contains(page, "\n| `"+string(verb)+"` | ") {
			t.Errorf("docs/hooks.md has no row of %s", verb)
		}
		for _, hook := range []string{"dpkg", "file", "rauc", "swupdate"} {
			if !regexp.MustCompile(`(?m)^` + string(verb) + `\)`).MatchString(read(t, "../../packaging/hooks/"+hook)) {
				t.Errorf("%s has no %s", hook, verb)
			}
		}
	}
}
