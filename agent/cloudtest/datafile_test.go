package cloudtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func TestDataFileTakesTwoSteps(t *testing.T) {
	g := newGateway(t, Options{})
	a := g.post("/api/v2/data-files", `{"type":"journal","moduleKey":"display"}`)
	a.want(t, 200)
	if got := strings.TrimSpace(string(a.Body)); got != `{"id":101}` {
		t.Errorf("got %s", got)
	}
	content := bytes.Repeat([]byte("line\n"), 300_000)
	g.put("101", "files", content).want(t, 200, `"path"`)
	sum := sha256.Sum256(content)
	got := g.cloud.Uploads()
	if len(got) != 1 || got[0].SHA256 != hex.EncodeToString(sum[:]) || got[0].Size != int64(len(content)) ||
		got[0].Type != "journal" || got[0].Module != "display" || got[0].Name != "messages.log" || got[0].Device != g.ID {
		t.Errorf("got %+v", got)
	}
	if len(got[0].Content) != keptContent {
		t.Errorf("got %d bytes kept; want %d", len(got[0].Content), keptContent)
	}
}

func TestDataFileOfEachType(t *testing.T) {
	g := newGateway(t, Options{})
	for _, typ := range Types {
		g.post("/api/v2/data-files", `{"type":"`+typ+`"}`).want(t, 200)
	}
	if got := len(g.cloud.DataFiles()); got != len(Types) {
		t.Errorf("got %d data files; want %d", got, len(Types))
	}
	if got := g.cloud.Uploads(); len(got) != 0 {
		t.Errorf("got uploads %+v; want none without content", got)
	}
}

func TestDataFileFaultsEachField(t *testing.T) {
	g := newGateway(t, Options{})
	for _, tt := range []struct{ name, body, errors string }{
		{"unknown type", `{"type":"x"}`, "invalid-field type"},
		{"type of another type", `{"type":7}`, "invalid-field type"},
		{"no type", `{}`, "required-field type"},
		{"another field instead", `{"kind":"log"}`, "unknown-field kind, required-field type"},
		{"module instead of moduleKey", `{"type":"log","module":"display"}`, "unknown-field module"},
		{"bad module key", `{"type":"log","moduleKey":"Main Display"}`, "invalid-field moduleKey"},
		{"null module key", `{"type":"log","moduleKey":null}`, "invalid-field moduleKey"},
		{"no object", `["log"]`, "invalid-operation"},
		{"no JSON", `type=log`, "invalid-operation"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := g.post("/api/v2/data-files", tt.body)
			a.want(t, 400)
			if got := a.errorTypes(t); got != tt.errors {
				t.Errorf("got errors %q; want %q", got, tt.errors)
			}
		})
	}
	g.do("POST", "/api/v2/data-files", strings.NewReader(`{"type":"log"}`), "Content-Type", "text/plain").want(t, 400)
	if got := g.cloud.DataFiles(); len(got) != 0 {
		t.Errorf("got %+v; want no data file of a bad request", got)
	}
}

func TestDataFileOfAnUnknownModule(t *testing.T) {
	g := newGateway(t, Options{})
	d := g.cloud.AddDevice(Device{Modules: []string{"display"}})
	g.token = g.cloud.Issue(d.ID, 0)
	g.post("/api/v2/data-files", `{"type":"log","moduleKey":"display"}`).want(t, 200)
	g.post("/api/v2/data-files", `{"type":"log","moduleKey":"engine"}`).want(t, 400, "invalid-field")
}

func TestUploadsThatAreRefused(t *testing.T) {
	g := newGateway(t, Options{MaxUpload: 1000})
	g.post("/api/v2/data-files", `{"type":"log"}`).want(t, 200)
	g.put("101", "files", nil).want(t, 400, "File is empty", "errors")
	g.put("101", "file", []byte("x")).want(t, 400, "required-field", `"files"`)
	g.put("101", "files", make([]byte, 1001)).want(t, 400, "limit-exceeded")
	g.put("102", "files", []byte("x")).want(t, 404, "entity-not-found", "data-file")
	g.post("/api/v2/data-files/101/file", "x").want(t, 400)
	other := *g
	other.token = g.cloud.Issue(g.cloud.AddDevice(Device{}).ID, 0)
	other.put("101", "files", []byte("x")).want(t, 404)
	if got := g.cloud.Uploads(); len(got) != 0 {
		t.Errorf("got %+v; want nothing kept", got)
	}
	g.put("101", "files", []byte("first")).want(t, 200)
	g.put("101", "files", []byte("second")).want(t, 200)
	if got := g.cloud.Uploads(); len(got) != 1 || got[0].Puts != 2 || string(got[0].Content) != "second" {
		t.Errorf("got %+v; want the second content in the place of the first", got)
	}
}
