package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// bill is what the tests read in one.
type bill struct {
	SerialNumber string
	Metadata     struct {
		Timestamp string
		Component struct {
			Name, Version, Purl string
			Hashes              []hash
			Properties          []struct{ Name, Value string }
			ExternalReferences  []struct {
				URL    string
				Hashes []hash
			}
		}
	}
	Components []struct{ Name string }
}

type hash struct{ Alg, Content string }

func (b bill) property(name string) string {
	for _, p := range b.Metadata.Component.Properties {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// build makes a program for one of the targets, as `make arm` does.
func build(t *testing.T, goarch, goarm string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-gcflags=all=-l", "-o", path, "./testdata/program")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch, "GOARM="+goarm)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func print(t *testing.T, path string, packages ...string) (string, bill) {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out, time.Unix(1e9, 0), "1.2.0-rc1", path, packages...); err != nil {
		t.Fatal(err)
	}
	var b bill
	if err := json.Unmarshal(out.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	return out.String(), b
}

func sum(t *testing.T, path string) []hash {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return []hash{{"SHA-256", fmt.Sprintf("%x", sha256.Sum256(content))}}
}

func TestBillTellsItsProgram(t *testing.T) {
	serials := map[string]string{}
	for _, target := range []struct{ goarch, goarm string }{{"amd64", ""}, {"arm", "7"}, {"arm", "5"}} {
		path := build(t, target.goarch, target.goarm)
		carrier := filepath.Join(filepath.Dir(path), "agent_1.2.0~rc1-1.deb")
		if err := os.WriteFile(carrier, []byte(target.goarch+target.goarm), 0o600); err != nil {
			t.Fatal(err)
		}
		text, b := print(t, path, carrier)
		c := b.Metadata.Component
		if got, want := fmt.Sprint(c.Hashes), fmt.Sprint(sum(t, path)); got != want {
			t.Errorf("%v: hashes %s, want %s", target, got, want)
		}
		if len(c.ExternalReferences) != 1 || c.ExternalReferences[0].URL != "agent_1.2.0.rc1-1.deb" ||
			fmt.Sprint(c.ExternalReferences[0].Hashes) != fmt.Sprint(sum(t, carrier)) {
			t.Errorf("%v: packages %v, want the one with its hash, and a dot for the tilde", target, c.ExternalReferences)
		}
		for name, want := range map[string]string{"GOOS": "linux", "GOARCH": target.goarch, "GOARM": target.goarm} {
			if got := b.property("cdx:gomod:build:env:" + name); got != want {
				t.Errorf("%v: %s is %q, want %q", target, name, got, want)
			}
		}
		if want := "@v1.2.0-rc1?goarch=" + target.goarch + "&goos=linux"; !strings.HasSuffix(c.Purl, want) || c.Version != "1.2.0-rc1" {
			t.Errorf("%v: purl %s of version %s, want …%s", target, c.Purl, c.Version, want)
		}
		if b.Metadata.Timestamp != "2001-09-09T01:46:40Z" {
			t.Errorf("%v: timestamp %s, want that of the source", target, b.Metadata.Timestamp)
		}
		if other := serials[b.SerialNumber]; other != "" {
			t.Errorf("%v has the number of %s", target, other)
		}
		serials[b.SerialNumber] = fmt.Sprint(target)
		if again, _ := print(t, path, carrier); again != text {
			t.Errorf("%v: two bills of one program differ", target)
		}
	}
}

// The schema is that which CycloneDX publishes, out of the module of cyclonedx-go.
func TestBillFollowsTheSchema(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for _, file := range []string{"bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schemax.json"} {
		content, err := os.Open(filepath.Join(strings.TrimSpace(string(out)), "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		schema, err := jsonschema.UnmarshalJSON(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+strings.Replace(file, "schemax", "schema", 1), schema); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable() // it has a module linked in
	if err != nil {
		t.Fatal(err)
	}
	text, b := print(t, program, program)
	if len(b.Components) < 2 {
		t.Errorf("%d components, want the library and a module", len(b.Components))
	}
	if err := valid(schema, text); err != nil {
		t.Error(err)
	}
	for _, wrong := range [][2]string{{"SHA-256", "SHA-255"}, {"urn:uuid:", "uuid:"}, {`"distribution"`, `"carrier"`}, {"2001-09-09T", "2001-09-09 "}} {
		if valid(schema, strings.ReplaceAll(text, wrong[0], wrong[1])) == nil {
			t.Errorf("the schema lets %s pass", wrong[1])
		}
	}
}

func valid(schema *jsonschema.Schema, text string) error {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}
