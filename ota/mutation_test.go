//go:build mutation

package ota

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A mutation is a fault put into the source: the tests must find it.
type mutation struct {
	name, file string
	text       string // of the whole file
}

// durable are the files whose every fsync and rename is taken out, one at a time.
var durable = []string{
	"room.go", "recover.go", "outbox.go", "store.go", "checkpoint.go", "transfer.go", "payload.go", "download.go",
	"../agent/atomicfile/atomicfile.go", "../agent/atomicfile/record.go",
}

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

func TestMutations(t *testing.T) {
	var all []mutation
	for _, file := range durable {
		all = append(all, withoutDurability(t, file)...)
	}
	if len(all) < 13 {
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
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			begin := time.Now()
			if out, found := m.found(t); !found {
				t.Errorf("no test notices it:\n%s", out)
			}
			t.Logf("%v", time.Since(begin).Round(time.Second))
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
			args := string(text[at(sel.X.Pos()):at(sel.X.End())])
			for _, a := range c.Args {
				args += ", " + string(text[at(a.Pos()):at(a.End())])
			}
			mutant := string(text[:at(c.Pos())]) + "func(...any) error { return nil }(" + args + ")" + string(text[at(c.End()):])
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

// found runs the tests on the mutant.
func (m mutation) found(t *testing.T) (out string, found bool) {
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
	args := func(pkg, run string) []string {
		return []string{"test", "-vet=off", "-failfast", "-overlay", overlay, "-count=1", "-timeout=4m", "-run", run, pkg}
	}
	if strings.Contains(m.file, "atomicfile") {
		if out, failed := goTest(t, args("../agent/atomicfile", ".")); failed {
			return out, true
		}
	}
	// The slowest last: most mutants do not live to see it.
	for _, run := range []string{"Room|Checkpoint|Slots|Finds|Discards|Trust|Stops|StartsFrom|Update|Hook|Install|Rollback|Budget", "TestModel", "Survives|Torture"} {
		if out, found = goTest(t, args(".", run)); found {
			break
		}
	}
	return out, found
}

// goTest reports whether a test failed, and makes sure that it was neither
// the compiler nor time that did.
func goTest(t *testing.T, args []string) (string, bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil && (strings.Contains(string(out), "build failed") || strings.Contains(string(out), "test timed out") || !strings.Contains(string(out), "FAIL")) {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err != nil
}
