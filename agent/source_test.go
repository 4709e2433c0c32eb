package agent_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"testing"
)

// source is a parsed file of the module that is not a test.
type source struct {
	pkg  string
	name string // relative to the module's root
	fset *token.FileSet
	file *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, source{p.path(), p.path() + "/" + name, fset, file})
		}
	}
	return all
}

func (s source) line(n ast.Node) int { return s.fset.Position(n.Pos()).Line }

func TestOnlyTheGroupStartsGoroutines(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if _, found := n.(*ast.GoStmt); found && s.name != "agent/group.go" {
				t.Errorf("%s:%d: go statement: run it as a task or in an errgroup that its owner waits for", s.name, s.line(n))
			}
			return true
		})
	}
}

func TestNobodySleeps(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
				t.Errorf("%s:%d: time.Sleep: wait on a timer and the context", s.name, s.line(n))
			}
			return true
		})
	}
}

func TestExportedNamesAreExplained(t *testing.T) {
	documented := map[string]bool{} // packages
	for _, s := range sources(t) {
		documented[s.pkg] = documented[s.pkg] || s.file.Doc.Text() != ""
		for _, decl := range s.file.Decls {
			for _, id := range unexplained(decl) {
				t.Errorf("%s:%d: exported %s has no comment", s.name, s.line(id), id.Name)
			}
		}
	}
	for name, ok := range documented {
		if !ok {
			t.Errorf("%s: no sentence says what the package does", name)
		}
	}
}

// unexplained lists the exported names of decl that no comment stands with.
func unexplained(decl ast.Decl) (names []*ast.Ident) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc.Text() == "" && receiverExported(d) && !conventional(d) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc.Text()+s.Doc.Text() == "" {
					names = append(names, s.Name)
				}
			case *ast.ValueSpec:
				for _, id := range s.Names {
					if id.IsExported() && d.Doc.Text()+s.Doc.Text()+s.Comment.Text() == "" {
						names = append(names, id)
					}
				}
			}
		}
	}
	return names
}

func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// conventional reports a method whose interface of the standard library says
// all there is to say.
func conventional(d *ast.FuncDecl) bool {
	known := []string{"Error", "Unwrap", "Is", "String", "GoString", "LogValue", "Format", "Len", "Less", "Swap",
		"Read", "Write", "Close", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText"}
	return d.Recv != nil && slices.Contains(known, d.Name.Name)
}

// TestFilesStayShort names each file in which a noun wants out.
func TestFilesStayShort(t *testing.T) {
	const limit = 300
	for _, s := range sources(t) {
		if n := s.fset.File(s.file.Pos()).LineCount(); n > limit {
			t.Errorf("%s: %d lines, more than %d: which noun wants out?", s.name, n, limit)
		}
	}
}

func TestPackagesAreNamedForWhatTheyDo(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains([]string{"base", "common", "helper", "helpers", "misc", "types", "util", "utils"}, p.Name) {
			t.Errorf("%s: package %s names no subject", p.path(), p.Name)
		}
	}
}
