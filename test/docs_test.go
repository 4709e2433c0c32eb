// Package test holds what checks the repository as a whole.
package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

const page = "../docs/fidelity.md"

func fidelity(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// testNames are the tests and fuzz targets of the tree, whatever their build
// tags.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "build"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestEveryTestThatFidelityNamesIsThere(t *testing.T) {
	known := testNames(t)
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9]*`).FindAllString(fidelity(t), -1)
	for _, name := range named {
		if !known[name] {
			t.Errorf("%s names %s, which is nowhere", page, name)
		}
	}
	if len(named) < 50 {
		t.Errorf("%s names %d tests; want many", page, len(named))
	}
}

// words of the simulator column that look like a switch and are none: fields
// of answers, commands and error types of the cloud.
var noSwitches = map[string]bool{
	"drop": true, "leak": true, "path": true, "true": true, "serialNumber": true, "lastOnline": true, "provision": true,
	"unknown-field": true, "entity-not-found": true, "not-authorized": true, "limit-exceeded": true, "invalid-operation": true,
}

func TestEverySwitchThatFidelityNamesIsThere(t *testing.T) {
	known := map[string]bool{}
	for _, f := range cloudtest.Faults {
		known[string(f.Name)] = true
	}
	cloud := cloudtest.New(cloudtest.Options{})
	defer cloud.Close()
	found := 0
	word := regexp.MustCompile("`([a-z][a-z0-9-]*)((?:@[^`:]*)?(?::[a-z0-9,-]+)?)`")
	for i, line := range strings.Split(fidelity(t), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if !strings.HasPrefix(line, "|") || len(cells) < 3 {
			continue
		}
		for _, m := range word.FindAllStringSubmatch(cells[len(cells)-2], -1) {
			switch {
			case known[m[1]]:
				found++
				s, err := cloudtest.ParseSwitch("always" + m[2])
				if err == nil {
					err = cloud.Set(cloudtest.Fault(m[1]), s)
				}
				if err != nil {
					t.Errorf("%s:%d: %s: %v", page, i+1, m[0], err)
				}
			case !noSwitches[m[1]]:
				t.Errorf("%s:%d: there is no switch %s", page, i+1, m[0])
			}
		}
	}
	if found < len(cloudtest.Faults) {
		t.Errorf("%d switches on the page, of %d", found, len(cloudtest.Faults))
	}
}

func TestEveryFlagThatFidelityNamesIsThere(t *testing.T) {
	var source strings.Builder
	files, err := filepath.Glob("../cmd/spoke-zone-sim/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	faults := map[string]bool{}
	for _, f := range cloudtest.Faults {
		faults[string(f.Name)] = true
	}
	for _, m := range regexp.MustCompile("`[^`|]*--([a-z][a-z-]*)").FindAllStringSubmatch(fidelity(t), -1) {
		if !faults[m[1]] && !strings.Contains(source.String(), `"`+m[1]+`"`) {
			t.Errorf("%s: spoke-zone-sim has no flag --%s", page, m[1])
		}
	}
}
