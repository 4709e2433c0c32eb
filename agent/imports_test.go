package agent_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/spoke-zone/spoke-zone-agent"

var (
	// Leaves know nothing but leaves; every part may use them.
	leaves = []string{"agent/atomicfile", "agent/budget", "agent/clock", "agent/confine", "agent/latest", "agent/lineend", "agent/redact"}
	// Parts import none of each other: they meet in package agent.
	parts = []string{"agent/account", "agent/api", "agent/capture", "agent/collect", "agent/command", "agent/deliver", "agent/local", "agent/telemetry", "agent/upload",
		"conf", "mqtt", "ota", "systemd"}
	// The simulated cloud and what only tests and the simulator need.
	testOnly = []string{module + "/agent/cloudtest", "github.com/mochi-mqtt/server/v2", "github.com/golang-jwt/jwt/v5",
		"github.com/rogpeppe/go-internal/testscript", "github.com/santhosh-tekuri/jsonschema/v6", "pgregory.net/rapid", "golang.org/x/oauth2", module + "/agent/atomicfile/powercut", "testing"}
)

// A pkg is what go list says of a package, its tests left out.
type pkg struct {
	ImportPath, Dir, Name  string
	GoFiles, Imports, Deps []string
}

func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// packages lists every package of the module that has code beside tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	notice(t)
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,GoFiles,Imports,Deps", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
	if len(all) < len(leaves) {
		t.Fatalf("go list named %d packages, want the whole module", len(all))
	}
	return all
}

// notice opens every folder of the code, so that go test does not answer from
// its cache once a file was added: what go list reads, it does not see.
func notice(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"agent", "cmd", "conf", "docs", "mqtt", "ota", "systemd", "test"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(string, fs.DirEntry, error) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// within names the entry of list that path is or lies below, "" if none.
func within(list []string, path string) string {
	for _, dir := range list {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return dir
		}
	}
	return ""
}

func TestPartsImportOnlyLeaves(t *testing.T) {
	for _, p := range packages(t) {
		part := within(parts, p.path())
		if part == "" && within(leaves, p.path()) == "" {
			continue
		}
		for _, imp := range p.Imports {
			path, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			own := part != "" && within(parts, path) == part
			if !own && within(leaves, path) == "" {
				t.Errorf("%s imports %s: of ours it may import %s alone", p.path(), path, strings.Join(leaves, ", "))
			}
		}
	}
}

func TestProductionNeedsNothingOfTheTests(t *testing.T) {
	for _, p := range packages(t) {
		if within([]string{"agent/cloudtest", "cmd/spoke-zone-sim", "test"}, p.path()) != "" {
			continue
		}
		for _, dep := range p.Deps {
			if name := within(testOnly, dep); name != "" {
				t.Errorf("%s depends on %s, which only tests and the simulator may", p.path(), name)
			}
		}
	}
}

// TestTheArchitecturePageNamesTheParts and the leaves, as they are.
func TestTheArchitecturePageNamesTheParts(t *testing.T) {
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rule, _ := strings.Cut(string(text), "## The import rule")
	rule, _, _ = strings.Cut(rule, "\n## ")
	for _, name := range append(append([]string{}, leaves...), parts...) {
		if !strings.Contains(rule, "`"+name+"`") {
			t.Errorf("docs/architecture.md does not name %s in the import rule", name)
		}
	}
}
