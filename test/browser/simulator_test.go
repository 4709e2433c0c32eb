package browser

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// built returns a program that `make build` has made.
func built(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../build/" + name)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v: make build first", err)
	}
	return path
}

// start runs a program until the test ends, and returns what it prints.
func start(t *testing.T, log string, program string, args ...string) *bufio.Reader {
	t.Helper()
	cmd := exec.Command(program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := os.Create(filepath.Join(pictures, log))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", filepath.Base(program), err)
		}
		kill.Stop()
		stderr.Close()
	})
	return bufio.NewReader(out)
}

// simulate starts the simulator and returns its console's address.
func simulate(t *testing.T, gateways string, flags ...string) string {
	t.Helper()
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	out := start(t, "simulator.log", built(t, "spoke-zone-sim"), append([]string{"serve", "--console", "127.0.0.1:0", "--gateways", gateways}, flags...)...)
	line, err := out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("simulator: %v", err)
	}
	var ready struct{ Console string }
	if err := json.Unmarshal(line, &ready); err != nil || ready.Console == "" {
		t.Fatalf("simulator: got %q, %v", line, err)
	}
	return ready.Console
}

// A gateway is a directory with the files of one, and the agent's program.
type gateway struct {
	t       *testing.T
	dir     string
	program string
}

// add appends to the gateway's settings.
func (g *gateway) add(text string) {
	g.t.Helper()
	f, err := os.OpenFile(filepath.Join(g.dir, "agent.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// command makes a program for ctrl/NAME.
func (g *gateway) command(name, script string) {
	g.t.Helper()
	dir := filepath.Join(g.dir, "commands.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nset -eu\n"+script), 0o755); err != nil {
		g.t.Fatal(err)
	}
}

// run starts the agent.
func (g *gateway) run() {
	g.t.Helper()
	start(g.t, "agent.log", g.program, "run", "--config", filepath.Join(g.dir, "agent.conf"))
}

// ask runs a command of the agent's and returns what it prints.
func (g *gateway) ask(args ...string) string {
	g.t.Helper()
	out, err := exec.CommandContext(g.t.Context(), g.program, append(args, "--config", filepath.Join(g.dir, "agent.conf"))...).CombinedOutput()
	if err != nil {
		g.t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}
