package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// A schema is one of JSON Schema, draft 2020-12, as far as a status needs it.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Ref         string             `json:"$ref,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        string             `json:"type,omitempty"`
	Format      string             `json:"format,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Defs        map[string]*schema `json:"$defs,omitempty"`
}

// statusSchema is the schema of `status --json`, from the types that write it
// and the comments beside their fields in the Go files of dir.
func statusSchema(dir string) (string, error) {
	said, err := comments(dir)
	if err != nil {
		return "", err
	}
	defs := map[string]*schema{}
	root := object(reflect.TypeFor[local.Status](), said, defs)
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.ID = fmt.Sprintf("https://github.com/spoke-zone/spoke-zone-agent/docs/status.schema.json?schema=%d", local.Schema)
	root.Title = "spoke-zone-agent status --json"
	delete(defs, "Status")
	root.Defs = defs
	b, err := json.MarshalIndent(root, "", "  ")
	return string(b) + "\n", err
}

// object describes a struct; fields without omitempty or omitzero are always
// there. Fields of its own may be added, so more than these are allowed.
func object(t reflect.Type, said map[string]string, defs map[string]*schema) *schema {
	s := &schema{Type: "object", Description: said[t.Name()], Properties: map[string]*schema{}}
	defs[t.Name()] = s
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := describe(f.Type, said, defs)
		p.Description = said[t.Name()+"."+f.Name]
		s.Properties[name] = p
		if !strings.Contains(options, "omit") {
			s.Required = append(s.Required, name)
		}
	}
	return s
}

func describe(t reflect.Type, said map[string]string, defs map[string]*schema) *schema {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return &schema{Type: "string", Format: "date-time"}
	case t.Kind() == reflect.Pointer:
		return describe(t.Elem(), said, defs)
	case t.Kind() == reflect.Struct:
		if defs[t.Name()] == nil {
			object(t, said, defs)
		}
		return &schema{Ref: "#/$defs/" + t.Name()}
	case t.Kind() == reflect.Slice:
		return &schema{Type: "array", Items: describe(t.Elem(), said, defs)}
	case t.Kind() == reflect.Bool:
		return &schema{Type: "boolean"}
	case t.Kind() == reflect.Float64:
		return &schema{Type: "number"}
	case t.Kind() == reflect.String:
		return &schema{Type: "string"}
	}
	return &schema{Type: "integer"}
}

// comments are those of the types in dir, by TYPE, and of their fields, by
// TYPE.FIELD.
func comments(dir string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	said := map[string]string{}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || len(decl.Specs) == 0 {
				return true
			}
			spec, ok := decl.Specs[0].(*ast.TypeSpec)
			if !ok {
				return true
			}
			said[spec.Name.Name] = words(decl.Doc)
			if body, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range body.Fields.List {
					for _, id := range f.Names {
						said[spec.Name.Name+"."+id.Name] = strings.TrimSpace(words(f.Doc) + " " + words(f.Comment))
					}
				}
			}
			return true
		})
	}
	return said, nil
}

func words(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
