package cloudtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page by which readers trust the simulator names every switch, and tests
// that exist.
func TestFidelity(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "fidelity.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, f := range Faults {
		if !regexp.MustCompile("`" + string(f.Name) + "[`@:]").MatchString(text) {
			t.Errorf("switch %s has no place on the page", f.Name)
		}
	}
	dirs := map[string]string{"sim": "cmd/spoke-zone-sim", "mqtt": "mqtt", "ota": "ota", "conf": "conf", "agent": "agent", "kill": "test/kill"}
	known := map[string]map[string]bool{}
	cited := regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(text, -1)
	for _, c := range cited {
		pkg, test := c[1], c[2]
		if known[pkg] == nil {
			dir, named := dirs[pkg]
			if !named {
				dir = "agent/" + pkg
			}
			known[pkg] = testsOf(t, filepath.Join(root, dir))
		}
		if !known[pkg][test] {
			t.Errorf("there is no %s.%s", pkg, test)
		}
	}
	if len(cited) < 50 {
		t.Errorf("got %d tests named on the page; want many", len(cited))
	}
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|---") && strings.Contains(line, "`") && !namesATest.MatchString(line) {
			t.Errorf("line %d names no test", i+1)
		}
	}
}

var namesATest = regexp.MustCompile("`[a-z]+\\.(Test|Fuzz)")

// testsOf are the names of the tests in a directory.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}
