package local

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFile = "../../docs/status.schema.json"

// statusSchema compiles the schema; a closed one allows no field that it does
// not name.
func statusSchema(t *testing.T, closed bool) *jsonschema.Schema {
	t.Helper()
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if root := doc.(map[string]any); closed {
		root["additionalProperties"] = false
		for _, def := range root["$defs"].(map[string]any) {
			def.(map[string]any)["additionalProperties"] = false
		}
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("status.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("status.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// TestTheStatusFitsItsSchema as sent: with every field and with the least.
func TestTheStatusFitsItsSchema(t *testing.T) {
	closed := statusSchema(t, true)
	var full, least Status
	fill(reflect.ValueOf(&full).Elem())
	for _, s := range []Status{full, least} {
		s.tidy()
		line, err := jsonLine(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, closed, line); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
	}
}

// TestTheSchemaTellsOfNothingElse: what it names is in a status with every
// field.
func TestTheSchemaTellsOfNothingElse(t *testing.T) {
	var s Status
	fill(reflect.ValueOf(&s).Elem())
	s.tidy()
	line, err := jsonLine(s)
	if err != nil {
		t.Fatal(err)
	}
	var sent any
	if err := json.Unmarshal(line, &sent); err != nil {
		t.Fatal(err)
	}
	fields := 0
	var walk func(at string, s *jsonschema.Schema, v any)
	walk = func(at string, s *jsonschema.Schema, v any) {
		if s.Ref != nil {
			s = s.Ref
		}
		if list, ok := v.([]any); ok {
			walk(at, s.Items2020, list[0])
			return
		}
		object, _ := v.(map[string]any)
		for name, p := range s.Properties {
			fields++
			if _, ok := object[name]; !ok {
				t.Errorf("%s.%s is in the schema and not in the status", at, name)
			}
			walk(at+"."+name, p, object[name])
		}
	}
	walk("status", statusSchema(t, false), sent)
	if fields < 100 {
		t.Errorf("the schema names %d fields", fields)
	}
}

func TestTheSchemaRefusesWhatIsNoStatus(t *testing.T) {
	least, err := os.ReadFile("testdata/status-least.json")
	if err != nil {
		t.Fatal(err)
	}
	open := statusSchema(t, false)
	for _, change := range [][2]string{
		{`"accounts": []`, `"accounts": null`}, {`"accounts": []`, `"accounts": [{}]`}, {`"schema": 1`, `"schema": "1"`},
		{`"schema": 1,`, `"schema": 1, "started": "yesterday",`}, {`"pid"`, `"process"`},
	} {
		text := strings.Replace(string(least), change[0], change[1], 1)
		if text == string(least) {
			t.Fatalf("%s is not in the status", change[0])
		}
		if validate(t, open, []byte(text)) == nil {
			t.Errorf("with %s it is a status", change[1])
		}
	}
	if err := validate(t, open, []byte(strings.Replace(string(least), `"schema": 1`, `"schema": 1, "new": 1`, 1))); err != nil {
		t.Errorf("with a new field: %v", err)
	}
}
