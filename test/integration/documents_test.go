//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// A block is fenced code of a page.
type block struct{ page, language, text string }

// blocks are those of a page below a heading, up to the next of its kind; of
// all of it if heading is empty.
func blocks(t *testing.T, page, heading string) (all []block) {
	t.Helper()
	b, err := os.ReadFile("../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if heading != "" {
		_, text, _ = strings.Cut(text, "\n## "+heading+"\n")
		text, _, _ = strings.Cut(text, "\n## ")
	}
	for i, part := range strings.Split("\n"+text, "\n```") {
		if i%2 == 1 {
			language, code, _ := strings.Cut(part, "\n")
			all = append(all, block{page, language, code})
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s %s: no code", page, heading)
	}
	return all
}

// Each command with curl of the page about the local API does what it says, and
// the answer has the shape that the page shows.
func TestTheCommandsOfTheLocalAPI(t *testing.T) {
	sim := startSimulator(t)
	dir := t.TempDir()
	sim.run(t, "provision", dir)
	g := &gateway{t: t, dir: dir, binary: built(t, "spoke-zone-agent")}
	g.write("accounts.d/building.conf", sim.run(t, "account", "bace"), 0o600)
	g.write("engine.log", "engine 1 temperature 71.5 ok\n", 0o644)
	g.write(".curlrc", "silent\nshow-error\nfail-with-body\n", 0o644)
	g.write("bin/spoke-zone-agent", fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" --config %s\n", g.binary, g.path("agent.conf")), 0o755)
	g.logTo(t)
	g.start()
	online := func() bool {
		s, ok := g.status()
		return ok && s.MQTT.State == "online" && len(s.Accounts) == 2 && s.Accounts[1].State == "valid"
	}
	eventually(t, "a gateway with its token and the building's", online, func() string { return g.read("agent.log") })

	// What the answer has, by what tells the command; the endless ones are fed and ended.
	wants := map[string]string{
		"/building/token\n": `"account":"building"`, "/v1/status": "\nspoke_zone_agent_", "/v1/ota\n": `"module":"display"`, "/v1/publish": "",
		"/v1/subscribe": `"payload":"hello"`, "/v1/data-files": `"size":29`, "/display/check": `"done":true`, "min_validity": `"state":"renewed"`,
		"/building/watch": `"state":"valid"`, "/building/rejected": `"state":"noted"`, "/v1/proxy/": "totalCount",
	}
	all := blocks(t, "docs/local-api.md", "")
	for i, b := range all {
		if b.language != "sh" || !strings.Contains(b.text, "curl") {
			continue
		}
		code := strings.ReplaceAll(b.text, "/run/spoke-zone-agent/", g.path("run")+"/") + "\n"
		key := ""
		for k := range wants {
			if strings.Contains(code, k) {
				key = k
			}
		}
		want, known := wants[key]
		delete(wants, key)
		if !known {
			t.Errorf("what does this answer?\n%s", b.text)
			continue
		}
		s := shell(t, dir, code, "HOME="+dir, "PATH="+g.path("bin")+":"+os.Getenv("PATH"))
		if strings.Contains(code, "curl -N") {
			eventually(t, "the answer to "+b.text, func() bool {
				if strings.Contains(key, "subscribe") {
					sim.run(t, "publish", "--command", "greet", "hello")
				}
				return strings.Contains(s.printed(), want)
			}, s.said)
			s.end(t)
		} else if err := s.cmd.Wait(); err != nil || !strings.Contains(s.printed(), want) {
			t.Errorf("%v\n%s\n%s\nwant %s", err, b.text, s.said(), want)
		}
		if i+1 < len(all) && all[i+1].language == "json" {
			if got, want := keys(t, s.printed()), keys(t, all[i+1].text); !slices.Equal(got, want) {
				t.Errorf("%s: the answer has %q, the page shows %q", b.text, got, want)
			}
		}
	}
	if len(wants) > 0 {
		t.Errorf("no command on the page for %q", slices.Sorted(maps.Keys(wants)))
	}
	g.stop()
}

// works reports whether the session is up and there is a token of the account.
func (g *gateway) works(account string) bool {
	s, ok := g.status()
	return ok && s.MQTT.State == "online" && slices.ContainsFunc(s.Accounts, func(a local.Account) bool { return a.Account == account && a.State == "valid" })
}

// keys are those of the first line of JSON in text.
func keys(t *testing.T, text string) []string {
	t.Helper()
	var object map[string]any
	if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&object); err != nil {
		t.Errorf("%q: %v", text, err)
	}
	return slices.Sorted(maps.Keys(object))
}

// What the README says about the simulated cloud works when it is typed, line
// after line; only the fixed ports and /tmp are others.
func TestTheCommandsOfTheReadme(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Dir(built(t, "spoke-zone-sim")), filepath.Join(dir, "build")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := l.Addr().String()
	l.Close()
	var script strings.Builder
	var last string
	for _, b := range blocks(t, "README.md", "Simulate the cloud") {
		code := strings.NewReplacer("127.0.0.1:8800", admin, "/tmp/gateway", dir+"/gateway").Replace(b.text) + "\n"
		script.WriteString(last)
		last = code
	}
	s := shell(t, dir, script.String())
	g := &gateway{t: t, dir: filepath.Join(dir, "gateway"), binary: built(t, "spoke-zone-agent")}
	eventually(t, "a gateway with its token and BACE's", func() bool { return g.works("bace") }, func() string { return s.said() + readAll(g.path("log")) })
	eventually(t, "its events", func() bool {
		return strings.Contains(s.printed(), `"kind":"connect"`) && strings.Contains(s.printed(), `"cloud":"bace"`)
	}, s.said)
	for _, want := range []string{`{"server-error":"20%@503"}`, `"bace.zone":"always@Europe/Amsterdam"`} {
		if !strings.Contains(s.printed(), want) {
			t.Errorf("no %s; it %s", want, s.said())
		}
	}
	s.end(t)
	s = shell(t, dir, last)
	if err := s.cmd.Wait(); err != nil || !strings.Contains(s.printed(), "broker-kill") {
		t.Errorf("%v; it %s", err, s.said())
	}
}
