//go:build integration

package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/agent"
)

// calls are what the examples ask of each cloud, and a part of the answer.
var calls = map[string][2]string{
	"beacon-tower": {"/assets", "gateway-1"},
	"bace":         {"/api/v2/group", "totalCount"},
	"placeos":      {"/api/engine/v2/users/current", "gateway@example.com"},
	"beamery":      {"/v1/tasks", "[]"},
}

func TestAccountFilesOfTheExamples(t *testing.T) {
	if err := agent.CheckAccounts("../../docs/examples/accounts"); err != nil {
		t.Error(err)
	}
}

// Each program calls each cloud with the token that the agent keeps, over the
// socket and from the file.
func TestProgramsOfTheExamples(t *testing.T) {
	sim := startSimulator(t)
	dir := t.TempDir()
	sim.run(t, "provision", dir)
	g := &gateway{t: t, dir: dir, binary: built(t, "spoke-zone-agent")}
	accounts := filepath.Join(dir, "accounts.d")
	if err := os.MkdirAll(accounts, 0o755); err != nil {
		t.Fatal(err)
	}
	for name := range calls {
		text := sim.run(t, "account", name) + fmt.Sprintf("\n[deliver.example]\nfile = %s\n", g.path(name+".token"))
		if err := os.WriteFile(filepath.Join(accounts, name+".conf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.logTo(t)
	g.command("check")
	g.start()
	for name := range calls {
		eventually(t, "the token of "+name, func() bool {
			_, err := os.Stat(g.path(name + ".token"))
			return err == nil
		}, func() string { return g.read("agent.log") })
	}
	compiled := filepath.Join(t.TempDir(), "token")
	if out, err := exec.Command("go", "build", "-o", compiled, "../../docs/examples/token").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	for language, argv := range map[string][]string{"Go": {compiled}, "Python": {"python3", "../../docs/examples/token.py"}, "shell": {"sh", "../../docs/examples/token.sh"}} {
		call := func(account, url string) (string, error) {
			cmd := exec.Command(argv[0], append(argv[1:], account, url)...)
			cmd.Env = append(os.Environ(), "SPOKE_ZONE_SOCKET="+g.path("run/agent.sock"))
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		for name, ask := range calls {
			for _, account := range []string{name, g.path(name + ".token")} {
				if out, err := call(account, sim.Clouds[name]+ask[0]); err != nil || !strings.Contains(out, ask[1]) {
					t.Errorf("%s, %s: got %v, %s; want %s", language, account, err, out, ask[1])
				}
			}
		}
		if out, err := call("bace", sim.Clouds["bace"]+"/api/v2/data/index"); err == nil || !strings.Contains(out, "401") {
			t.Errorf("%s: a forbidden call ended with %v, %s", language, err, out)
		}
	}
	var state struct {
		Clouds map[string]struct {
			Counts map[string]int `json:"counts"`
		} `json:"cloud_states"`
	}
	if err := json.Unmarshal([]byte(sim.run(t, "state")), &state); err != nil {
		t.Fatal(err)
	}
	for name := range calls {
		if n := state.Clouds[name].Counts["issue"]; n != 1 {
			t.Errorf("%s created %d tokens; want one for all programs", name, n)
		}
	}
	if events := sim.run(t, "events"); strings.Contains(events, "simulated-password") || strings.Contains(g.read("agent.log"), "simulated-") {
		t.Error("a secret stands in a log")
	}
	g.stop()
}

// A simulator runs until the test ends.
type simulator struct {
	binary string
	Admin  string            `json:"admin"`
	Clouds map[string]string `json:"clouds"`
}

func startSimulator(t *testing.T) *simulator {
	t.Helper()
	s := &simulator{binary: built(t, "spoke-zone-sim")}
	cmd := exec.Command(s.binary, "serve")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, s)
	}
	if err != nil {
		t.Fatalf("spoke-zone-sim serve: %q: %v", line, err)
	}
	return s
}

func (s *simulator) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(s.binary, append(args, "--url", s.Admin)...).Output()
	if err != nil {
		t.Fatalf("spoke-zone-sim %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// built is the path of a program that make build has made.
func built(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../build/" + name)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("make build comes first: %v", err)
	}
	return path
}
