//go:build mutation

package ota

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A mutation is a fault put into the source: the tests must find it.
type mutation struct {
	name, file string
	text       string // of the whole file
}

// durable are the directories whose every fsync and rename is taken out, one at
// a time.
var durable = []string{".", "../agent/atomicfile", "install"}

// quick are the mutations of the short run: one of each kind.
var quick = []string{"without probe on restart", "without probe before commit", "store.go without Sync", "store.go without Rename"}

// faults are other lines without which the machine is not safe.
var faults = []struct{ name, file, old, with string }{
	{"probe on restart", "step_forward.go", "\t\treturn r.notInstalled(ev, now)\n\t}\n\treturn r, effect{do: probe}", "\t\treturn r.notInstalled(ev, now)\n\t}\n\treturn r, effect{do: call, verb: HookInstall}"},
	{"probe before install", "step_forward.go", "return r, effect{do: probe, fresh: true}", "return r, effect{do: call, verb: HookInstall}"},
	{"probe before commit", "step_forward.go", "case ev.kind == probed && ev.result.Code != HookActive:", "case false:"},
	{"probe before commit on restart", "step_forward.go", "then: &effect{do: probe}}\n\t}\n\treturn r, effect{do: probe}\n}\n\n// rollingBack", "then: &effect{do: probe}}\n\t}\n\tr.AC++\n\treturn r, effect{do: call, verb: HookCommit}\n}\n\n// rollingBack"},
	{"probe after rollback", "step_forward.go", "case ev.kind == probed && ev.result.Code == HookPrevious:\n\t\treturn r.fail(r.Reason)\n\tcase r.AR", "case ev.kind == probed:\n\t\treturn r.fail(r.Reason)\n\tcase r.AR"},
	{"probe after the reboot back", "step_forward.go", "case ev.kind == probed && ev.result.Code == HookPrevious:\n\t\treturn r.fail(r.Reason)\n\tcase ev.kind == probed:", "case ev.kind == probed:\n\t\treturn r.fail(r.Reason)\n\tcase ev.kind == ended:"},
	{"verify", "step_forward.go", "return r, effect{do: prove}\n}\n\nfunc (r record) verifying", "r.State = Committing\n\treturn r, effect{do: probe}\n}\n\nfunc (r record) verifying"},
	{"count of installs", "step_forward.go", "\tr.AI++\n", ""},
	{"count of verifies", "step_forward.go", "\tr.AV++\n", ""},
	{"count of commits", "step_forward.go", "\t\tr.AC++\n", ""},
	{"count of rollbacks", "step.go", "\tr.AR++\n", ""},
	{"record before effect", "machine.go", "return do, m.room.put(next)", "m.room.rec, m.room.lost = next, false\n\treturn do, nil"},
	{"outcome before the end", "room.go", "if err := r.writeJSON(out, \"done\",", "if err := func(...any) error { return nil }(out, \"done\","},
	{"recovery of a lost record", "recover.go", "r.lost, r.held, r.due = true, in.File, in.Due", "r.held, r.due = in.File, in.Due"},
}

// TestMutations wants a named test to fail for every fault; with MUTATIONS=quick
// in the environment for one of each kind.
func TestMutations(t *testing.T) {
	var all []mutation
	for _, dir := range durable {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				all = append(all, withoutDurability(t, file)...)
			}
		}
	}
	if len(all) < 22 {
		t.Errorf("%d calls of fsync and rename were found", len(all))
	}
	for _, f := range faults {
		text, err := os.ReadFile(f.file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), f.old) != 1 {
			t.Errorf("%s: %s holds the line %d times", f.name, f.file, strings.Count(string(text), f.old))
			continue
		}
		all = append(all, mutation{"without " + f.name, f.file, strings.Replace(string(text), f.old, f.with, 1)})
	}
	if os.Getenv("MUTATIONS") == "quick" {
		all = slices.DeleteFunc(all, func(m mutation) bool {
			name, _, _ := strings.Cut(m.name, " at line")
			return !slices.Contains(quick, name)
		})
		if len(all) != len(quick) {
			t.Fatalf("%d of the %d mutations of the short run are there", len(all), len(quick))
		}
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			begin := time.Now()
			by := m.found(t)
			if by == "" {
				t.Error("no test notices it")
			}
			t.Logf("%s, after %v", by, time.Since(begin).Round(time.Second))
		})
	}
}

// withoutDurability takes out each call that makes something durable.
func withoutDurability(t *testing.T, file string) (all []mutation) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || ofSystem(fn) {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := c.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch sel.Sel.Name {
			case "Sync", "Datasync", "SyncDir", "Rename":
			default:
				return true
			}
			at := func(p token.Pos) int { return fset.Position(p).Offset }
			var args []string
			for _, a := range append([]ast.Expr{sel.X}, c.Args...) {
				args = append(args, string(text[at(a.Pos()):at(a.End())]))
			}
			if args[0] == "os" { // a package is no value
				args = args[1:]
			}
			mutant := string(text[:at(c.Pos())]) + "func(...any) error { return nil }(" + strings.Join(args, ", ") + ")" + string(text[at(c.End()):])
			name := fmt.Sprintf("%s without %s at line %d", filepath.Base(file), sel.Sel.Name, fset.Position(c.Pos()).Line)
			all = append(all, mutation{name, file, mutant})
			return true
		})
	}
	return all
}

// ofSystem reports the methods that are the system's calls themselves: no test
// in memory sees those.
func ofSystem(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return false
	}
	id, ok := fn.Recv.List[0].Type.(*ast.Ident)
	return ok && (id.Name == "OS" || id.Name == "Disk")
}

// found runs the tests on the mutant, and returns the name of the one that
// fails.
func (m mutation) found(t *testing.T) string {
	dir := t.TempDir()
	mutant, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	file, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{file: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{mutant: []byte(m.text), overlay: replace} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := func(pkg string) (program string) {
		program = filepath.Join(dir, filepath.Base(pkg)+".test")
		if out, err := exec.Command("go", "test", "-vet=off", "-c", "-overlay", overlay, "-o", program, pkg).CombinedOutput(); err != nil {
			t.Fatalf("the mutant does not compile: %v\n%s", err, out)
		}
		return program
	}
	if strings.Contains(m.file, "atomicfile") {
		if by := fails(t, build("../agent/atomicfile"), "../agent/atomicfile", "."); by != "" {
			return by
		}
	}
	if strings.HasPrefix(m.file, "install/") {
		t.Setenv("POWER_CUTS", "all")
		program := build("../ota/install")
		for _, run := range []string{"TestASigned|TestAHook", "TestThePowerFails"} {
			if by := fails(t, program, "install", run); by != "" {
				return by
			}
		}
		return ""
	}
	program := build("../ota")
	// The slowest last: most mutants do not live to see it. The model notices a
	// wrong decision, without waiting for the end of an update that has none.
	runs := []string{"Room|Checkpoint|Slots|Finds|Discards|Trust|Stops|StartsFrom|Update|Hook|Check|Install|Rollback|Budget", "TestModel", "Survives|Torture"}
	if strings.HasPrefix(m.name, "without ") {
		runs[0], runs[1] = runs[1], runs[0]
	}
	for _, run := range runs {
		if by := fails(t, program, ".", run); by != "" {
			return by
		}
	}
	return ""
}

var failed = regexp.MustCompile(`(?m)^--- FAIL: (Test\w+)`)

// fails returns the name of the test that fails, and makes sure that it is not
// time that ran out.
func fails(t *testing.T, program, dir, run string) string {
	cmd := exec.CommandContext(t.Context(), program, "-test.failfast", "-test.timeout=15m", "-test.run", run)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	by := failed.FindSubmatch(out)
	if by == nil || strings.Contains(string(out), "panic: test timed out") {
		t.Fatalf("%s -test.run %s: %v, and no test has failed:\n%s", program, run, err, out)
	}
	return string(by[1])
}
