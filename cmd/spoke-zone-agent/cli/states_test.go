package cli

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// statesOf are the states that a part may be in: those that the comment beside
// the field State of its type in agent/local lists. The schema of the status is
// made of the same words.
func statesOf(t *testing.T, file, typ string) (all []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../../../agent/local/"+file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, is := n.(*ast.TypeSpec)
		if !is || spec.Name.Name != typ {
			return true
		}
		fields, is := spec.Type.(*ast.StructType)
		if !is {
			return false
		}
		for _, field := range fields.Fields.List {
			if field.Names[0].Name == "State" && field.Comment != nil {
				all = regexp.MustCompile(`, | or `).Split(strings.TrimSpace(field.Comment.Text()), -1)
			}
		}
		return false
	})
	if len(all) < 2 {
		t.Fatalf("%s: the states of %s are %q", file, typ, all)
	}
	return all
}

// TestEveryStateHasItsSentences of each part, on the screen of status and in
// why. A state that is new has to get some: they are in testdata/states.txt,
// which UPDATE=1 writes.
func TestEveryStateHasItsSentences(t *testing.T) {
	var b strings.Builder
	begin, next := noon.Add(-90*time.Second), noon.Add(30*time.Second)
	firsts := map[string]string{}
	part := func(topic, state string, s local.Status) {
		said := why(s, noon, topic)
		first, _, _ := strings.Cut(strings.Join(strings.Fields(said), " "), ". ")
		if !strings.Contains(said, ".") {
			t.Errorf("%s %s: nothing is said", topic, state)
		}
		if before := firsts[topic+first]; before != "" {
			t.Errorf("%s: %s and %s begin alike: %s", topic, before, state, first)
		}
		firsts[topic+first] = state
		fmt.Fprintf(&b, "== %s %s\n%s--\n%s\n", topic, state, said, screen(s, noon))
	}
	for _, state := range statesOf(t, "status.go", "Token") {
		s := local.Status{Token: local.Token{State: state, Since: begin, NextTry: next, LastError: "POST /loginDevice: 503", LastErrorAt: begin, Attempt: 2,
			Issued: noon.Add(-time.Hour), Expires: noon.Add(time.Hour), WindowOpens: begin, RenewAt: next, PointOfNoReturn: noon.Add(2 * time.Hour)}}
		if state == "none" {
			s.Token = local.Token{State: state, Since: begin}
		}
		part("token", state, s)
	}
	for _, state := range statesOf(t, "status.go", "MQTT") {
		part("mqtt", state, local.Status{Token: local.Token{State: "valid"}, MQTT: local.MQTT{State: state, Since: begin, Broker: "mqtts://broker",
			ClientID: "me", Error: "no route to host", Attempt: 2, NextTry: next}})
	}
	phases := 0
	for p := ota.Idle; !strings.HasPrefix(p.String(), "Phase("); p++ {
		phases++
		part("ota", p.String(), local.Status{OTA: []local.Module{{Module: "app", Policy: "install", Phase: p.String(), Since: begin, Installed: "1.0", Offered: "1.1"}}})
	}
	if phases != 15 {
		t.Errorf("updates have %d phases", phases)
	}
	for _, state := range statesOf(t, "status.go", "Upload") {
		u := local.Upload{State: state, Since: begin, Queued: 2, QueuedBytes: 2048}
		switch state {
		case "idle":
			u.Queued, u.QueuedBytes = 0, 0
		case "sending":
			u.InFlight = "a.log"
		case "waiting":
			u.Error, u.NextTry = "no route to host", next
		default:
			t.Errorf("how is an upload that is %s shown?", state)
		}
		part("upload", state, local.Status{Upload: u})
	}
	for _, state := range statesOf(t, "status.go", "Token") { // those of accounts are the same
		part("accounts", state, local.Status{Accounts: []local.Account{{Account: "building", Profile: "bace", State: state, Since: begin, NextTry: next,
			Expires: noon.Add(time.Hour), LastError: "POST /oauth2/token: 503", Attempt: 2}}})
	}
	for _, state := range statesOf(t, "accounts.go", "Delivery") {
		part("deliveries", state, local.Status{Accounts: []local.Account{{Account: "building", Profile: "bace", State: "valid",
			Deliveries: []local.Delivery{{ID: "app", File: "/run/app/token", State: state, Error: "no such directory"}}}}})
	}
	const golden = "testdata/states.txt"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the screens and sentences are not those of %s: look at what UPDATE=1 changes in it", golden)
	}
}
