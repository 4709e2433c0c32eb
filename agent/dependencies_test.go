package agent_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDependenciesHaveReasons wants a line in docs/dependencies.md for each
// direct requirement of the agent, each pinned tool and what drives the browser, and none for others.
func TestDependenciesHaveReasons(t *testing.T) {
	want, known := map[string]bool{}, map[string]bool{}
	for _, dir := range []string{"..", "../packaging/tools", "../test/browser"} {
		cmd := exec.Command("go", "mod", "edit", "-json")
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("read %s/go.mod: %v", dir, err)
		}
		var mod struct {
			Require []struct {
				Path, Version string
				Indirect      bool
			}
			Tool []struct{ Path string }
		}
		if err := json.Unmarshal(out, &mod); err != nil {
			t.Fatal(err)
		}
		for _, r := range mod.Require {
			tool := slices.ContainsFunc(mod.Tool, func(tool struct{ Path string }) bool {
				return within([]string{r.Path}, tool.Path) != ""
			})
			known[r.Path+" "+r.Version] = true
			if !r.Indirect || tool {
				want[r.Path+" "+r.Version] = true
			}
		}
	}
	page, err := os.ReadFile("../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		key := strings.Trim(cells[1], " `") + " " + strings.TrimSpace(cells[2])
		if !known[key] {
			t.Errorf("docs/dependencies.md explains %s, which no go.mod requires", key)
		}
		delete(want, key)
		for i, cell := range cells[3 : len(cells)-1] {
			if strings.TrimSpace(cell) == "" {
				t.Errorf("docs/dependencies.md: %s: column %d is empty", key, i+3)
			}
		}
	}
	for key := range want {
		t.Errorf("docs/dependencies.md gives no reason for %s", key)
	}
}
