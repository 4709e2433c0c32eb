package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// A simulator is one that runs in this process.
type simulator struct {
	t testing.TB
	Ready
	out *bufio.Reader // what it prints after its first line
}

// start runs serve with flags until the test ends.
func start(t testing.TB, flags ...string) *simulator {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, w := io.Pipe()
	var stderr bytes.Buffer
	status := make(chan int)
	go func() {
		code := run(ctx, append([]string{"serve"}, flags...), w, &stderr)
		w.Close()
		status <- code
	}()
	t.Cleanup(func() {
		cancel()
		go io.Copy(io.Discard, out)
		if code := <-status; code != 0 {
			t.Errorf("serve: got status %d, %s", code, stderr.String())
		}
	})
	s := &simulator{t: t, out: bufio.NewReader(out)}
	if slices.Contains(flags, "-v") {
		return s
	}
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("serve: %v", err)
	}
	if err := json.Unmarshal(line, &s.Ready); err != nil {
		t.Fatalf("serve: got %q: %v", line, err)
	}
	return s
}

// command runs a command and returns its status and what it prints.
func (s *simulator) command(args ...string) (status int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	if s.Admin != "" {
		args = append(args, "--url", s.Admin)
	}
	status = run(context.Background(), args, &out, &errs)
	return status, out.String(), errs.String()
}

// must runs a command that has to succeed and decodes what it prints.
func (s *simulator) must(v any, args ...string) {
	s.t.Helper()
	status, stdout, stderr := s.command(args...)
	if status != 0 || stderr != "" {
		s.t.Fatalf("%q: got status %d, %s", args, status, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), v); err != nil {
		s.t.Fatalf("%q: got %q: %v", args, stdout, err)
	}
}

func (s *simulator) state() State {
	s.t.Helper()
	var state State
	s.must(&state, "state")
	return state
}

// get makes an API request with a device's token.
func (s *simulator) get(path, token string) (int, []byte) {
	s.t.Helper()
	r, err := http.NewRequest("GET", s.API+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-Access-Token", token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestProvisionedGatewayFindsTheSimulator(t *testing.T) {
	s := start(t, "--tls", "--token-life", "60s", "--window", "40s", "--grace", "30s", "--module", "display,can-1")
	for _, style := range []string{"ini", "plain", "colon", "quoted", "windows", "untidy"} {
		t.Run(style, func(t *testing.T) {
			s.t = t
			dir := filepath.Join(t.TempDir(), "gateway")
			var made Provisioned
			s.must(&made, "provision", dir, "--style", style, "--set", "telemetry.versions_interval=5s", "--set", "module.display.policy=notify")
			settings, err := conf.Load(made.Config)
			if err != nil {
				t.Fatal(err)
			}
			if settings.Cloud.URL != s.API || settings.MQTT.Broker != s.MQTT || settings.Token.RenewBefore != 40*time.Second ||
				settings.Token.Grace != 30*time.Second || settings.Telemetry.VersionsInterval != 5*time.Second {
				t.Errorf("got %+v", settings)
			}
			keys := []string{}
			for _, m := range settings.Modules {
				keys = append(keys, m.Key+" "+m.Policy)
				if text, err := os.ReadFile(m.VersionFile); err != nil || string(text) != "1.0.0\n" {
					t.Errorf("got version %q, %v", text, err)
				}
			}
			if !slices.Equal(keys, []string{"display notify", "can-1 fetch"}) {
				t.Errorf("got modules %q", keys)
			}
			identity, err := conf.ReadIdentity(settings.Paths.Identity)
			if err != nil || identity.Warning != nil {
				t.Fatal(err, identity.Warning)
			}
			device := s.state().Devices[0]
			if identity.CPUID != device.CPUID || identity.UUID != device.UUID || identity.DeviceID != fmt.Sprint(device.ID) || identity.Password == "" {
				t.Errorf("got %v; want %+v", identity, device)
			}
			if strings.Count(identity.Token, ".") != 2 {
				t.Errorf("got a token of %d characters; want a JWT", len(identity.Token))
			}
			ca, err := os.ReadFile(settings.Cloud.CAFile)
			if err != nil || !x509.NewCertPool().AppendCertsFromPEM(ca) {
				t.Errorf("got no CA, %v", err)
			}
			if status, _, stderr := s.command("provision", dir); status != exitFailed || !strings.Contains(stderr, "--force") {
				t.Errorf("second time: got status %d, %s", status, stderr)
			}
			s.must(&made, "provision", dir, "--force", "--life=-5s")
			again, err := conf.ReadIdentity(settings.Paths.Identity)
			if err != nil || again.Token == identity.Token {
				t.Errorf("got the same token or %v; want a new one", err)
			}
		})
	}
}

func TestTokensOfProvisionWork(t *testing.T) {
	s := start(t)
	dir := t.TempDir()
	var made Provisioned
	s.must(&made, "provision", dir)
	identity, err := conf.ReadIdentity(made.Identity)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := s.get("/api/v2/ota-files", identity.Token); status != 200 || string(body) != "[]" {
		t.Errorf("got %d %s", status, body)
	}
	s.must(&made, "provision", dir, "--force", "--life=-5s")
	if identity, err = conf.ReadIdentity(made.Identity); err != nil {
		t.Fatal(err)
	}
	if status, _ := s.get("/api/v2/ota-files", identity.Token); status != 401 {
		t.Errorf("got %d with an expired token", status)
	}
}

func (s *simulator) token() string {
	s.t.Helper()
	var made Provisioned
	s.must(&made, "provision", filepath.Join(s.t.TempDir(), "d"))
	identity, err := conf.ReadIdentity(made.Identity)
	if err != nil {
		s.t.Fatal(err)
	}
	return identity.Token
}

func TestOfferWithdrawActivate(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "engine"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "engine", "2.0.1")
	if err := os.WriteFile(file, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--ota-dir", dir)
	token := s.token()
	var o Offered
	s.must(&o, "offer", file, "--module", "display", "--version", "1.3.0", "--notes", "better")
	if o.ID != 8 || o.Size != 3 || o.SHA256 != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("got %+v", o)
	}
	if status, body := s.get("/api/v2/ota-files/8/file", token); status != 200 || string(body) != "abc" {
		t.Errorf("got %d %q", status, body)
	}
	s.must(&o, "offer", "--size", "1MiB", "--seed", "3", "--module", "display", "--version", "1.4.0")
	_, body := s.get("/api/v2/ota-files/9/file", token)
	if sum := sha256.Sum256(body); len(body) != 1<<20 || hex.EncodeToString(sum[:]) != o.SHA256 {
		t.Errorf("got %d bytes with another digest than was told", len(body))
	}
	var answer map[string]any
	s.must(&answer, "withdraw", "8")
	if status, _ := s.get("/api/v2/ota-files/8/file", token); status != 404 {
		t.Errorf("got %d of a withdrawn file", status)
	}
	s.must(&answer, "activate", "8")
	releases := s.state().Releases
	if len(releases) != 3 || releases[0].Module != "engine" || releases[0].Version != "2.0.1" || !releases[1].Active || releases[1].Notes != "better" || releases[2].Served != 1<<20 {
		t.Errorf("got %+v", releases)
	}
	for _, args := range [][]string{
		{"offer", file, "--module", "x"}, {"offer", "--module", "x", "--version", "1"},
		{"offer", file, "--size", "1", "--module", "x", "--version", "1"}, {"offer", "--size", "3GiB", "--module", "x", "--version", "1"},
		{"offer", "--size", "much", "--module", "x", "--version", "1"},
	} {
		if status, _, _ := s.command(args...); status != exitUsage {
			t.Errorf("%q: got status %d; want %d", args, status, exitUsage)
		}
	}
	for _, args := range [][]string{{"offer", dir + "/none", "--module", "x", "--version", "1"}, {"withdraw", "99"}, {"activate", "x"}} {
		if status, _, stderr := s.command(args...); status != exitFailed || stderr == "" {
			t.Errorf("%q: got status %d, %s", args, status, stderr)
		}
	}
}

func TestFaultsAreSwitchedByFlagAndByCommand(t *testing.T) {
	s := start(t, "--string-ids", "--server-error=1/2@503:device", "--seed", "4")
	want := map[cloudtest.Fault]string{"string-ids": "always", "server-error": "1/2@503:device"}
	if got := s.state().Faults; !mapsEqual(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
	var got map[cloudtest.Fault]string
	s.must(&got, "fault", "string-ids=off", "no-range", "latency=20%@50ms")
	want = map[cloudtest.Fault]string{"server-error": "1/2@503:device", "no-range": "always", "latency": "20%@50ms"}
	if !mapsEqual(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
	for _, arg := range []string{"gremlins=on", "latency=maybe", "no-range=always@3"} {
		if status, _, stderr := s.command("fault", arg); status != exitFailed || !strings.Contains(stderr, "fault") {
			t.Errorf("%s: got status %d, %s", arg, status, stderr)
		}
	}
}

func mapsEqual(a, b map[cloudtest.Fault]string) bool {
	return fmt.Sprint(a) == fmt.Sprint(b)
}

func TestEveryFaultHasAFlag(t *testing.T) {
	s := &simulator{t: t}
	_, help, _ := s.command("serve", "--help")
	for _, f := range cloudtest.Faults {
		if !regexp.MustCompile(`--` + string(f.Name) + `\b`).MatchString(help) {
			t.Errorf("got no flag --%s", f.Name)
		}
	}
}

func TestClockMessagesEventsAndDataFiles(t *testing.T) {
	s := start(t, "--clock", "1h")
	token := s.token()
	var answer map[string]any
	s.must(&answer, "clock", "240h")
	if status, _ := s.get("/api/v2/ota-files", token); status != 401 {
		t.Errorf("got %d; want the token expired by the cloud's clock", status)
	}
	s.must(&answer, "clock", "0s")
	if got := s.state().Offset; got != "0s" {
		t.Errorf("got offset %s", got)
	}
	s.must(&answer, "publish", "--command", "hello", "there", "--retain")
	if answer["topic"] != "mrs/d/123/ctrl/hello" {
		t.Errorf("got %v", answer)
	}
	s.must(&answer, "publish", "mrs/d/123/ctrl/x", "--qos", "0")
	s.must(&answer, "drop")
	for _, args := range [][]string{{"publish", "a/#"}, {"publish", "x", "--command", "--device", "999"}, {"publish", "x", "--qos", "2"}} {
		if status, _, _ := s.command(args...); status != exitFailed {
			t.Errorf("%q: got status %d", args, status)
		}
	}
	_, events, _ := s.command("events")
	if !strings.Contains(events, `"kind":"request"`) || strings.Contains(events, token) {
		t.Errorf("got events %s", events)
	}
	if _, rest, _ := s.command("events", "--after", fmt.Sprint(strings.Count(events, "\n"))); rest != "" {
		t.Errorf("got %q after the last event", rest)
	}
	r, err := http.NewRequest("POST", s.API+"/api/v2/data-files", strings.NewReader(`{"type":"log"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Access-Token", token)
	r.Header.Set("Content-Type", "application/json")
	if resp, err := http.DefaultClient.Do(r); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	for path, want := range map[string]int{"/data-files/101": 404, "/nothing": 404} {
		if resp, err := http.Get(s.Admin + path); err != nil || resp.StatusCode != want {
			t.Errorf("%s: got %v, %v", path, resp, err)
		}
	}
	s.upload(101, token, "some lines")
	resp, err := http.Get(s.Admin + "/data-files/101")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "some lines" {
		t.Errorf("got %q", body)
	}
	if files := s.state().DataFiles; len(files) != 1 || files[0].Size != 10 || files[0].Type != "log" {
		t.Errorf("got %+v", files)
	}
}

func (s *simulator) upload(id int, token, text string) {
	s.t.Helper()
	body := "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\"\r\n\r\n" + text + "\r\n--b--\r\n"
	r, err := http.NewRequest("POST", fmt.Sprintf("%s/api/v2/data-files/%d/file", s.API, id), strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-Access-Token", token)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	if resp, err := http.DefaultClient.Do(r); err != nil || resp.StatusCode != 200 {
		s.t.Fatal(resp, err)
	}
}

func TestEventsCanBeFollowed(t *testing.T) {
	s := start(t)
	resp, err := http.Get(s.Admin + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.get("/nowhere", "")
	line, err := bufio.NewReader(resp.Body).ReadBytes('\n')
	var e cloudtest.Event
	if err != nil || json.Unmarshal(line, &e) != nil || e.Kind != cloudtest.EventRequest || e.Path != "/nowhere" || e.Status != 404 {
		t.Errorf("got %s, %v", line, err)
	}
}

func TestDevicesCanBeAdded(t *testing.T) {
	s := start(t, "--devices", "2", "--device-id", "7", "--cpu-id", "c", "--uuid", "u", "--base", "acme/d/7")
	devices := s.state().Devices
	if len(devices) != 2 || devices[0].ID != 7 || devices[0].CPUID != "c" || devices[0].UUID != "u" || devices[0].Base != "acme/d/7" {
		t.Errorf("got %+v", devices)
	}
	c := &controller{url: s.Admin}
	var added Credentials
	if err := c.post(t.Context(), "/devices", map[string]any{"identifier": "third"}, &added); err != nil {
		t.Fatal(err)
	}
	if status, _ := s.get("/api/v2/ota-files", added.Token); status != 200 || added.Identifier != "third" || added.CA != "" {
		t.Errorf("got %d with %+v", status, added)
	}
	if err := c.post(t.Context(), "/devices", map[string]any{"colour": 1}, &added); err == nil {
		t.Error("got no error of an unknown field")
	}
	if status, _, _ := s.command("provision", t.TempDir(), "--device", "99"); status != exitFailed {
		t.Errorf("got status %d of an unknown device", status)
	}
}

func TestVerboseIsForPeople(t *testing.T) {
	s := start(t, "-v")
	admin := ""
	for range 9 { // four places of Spoke Zone, five of the other clouds
		line, err := s.out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if what, url, ok := strings.Cut(strings.TrimSpace(line), " "); ok && what == "admin" {
			admin = strings.TrimSpace(url)
		} else if ok && what == "api" {
			s.API = strings.TrimSpace(url)
		}
	}
	s.Admin = admin
	s.get("/api/v2/ota-files?limit=5", "")
	line, err := s.out.ReadString('\n')
	if err != nil || !strings.Contains(line, "request    GET /api/v2/ota-files?limit=5 401") {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestAdminIsNotForBrowsers(t *testing.T) {
	s := start(t)
	for name, change := range map[string]func(*http.Request){
		"a page's request":     func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		"a name that was bent": func(r *http.Request) { r.Host = "evil.example:80" },
	} {
		r, err := http.NewRequest("GET", s.Admin+"/state", nil)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode != 403 {
			t.Errorf("%s: got %v, %v; want 403", name, resp, err)
		}
	}
}

func TestServeListensOnLoopbackUnlessToldOtherwise(t *testing.T) {
	s := &simulator{t: t}
	for _, flag := range []string{"--http", "--mqtt", "--files", "--admin"} {
		status, _, stderr := s.command("serve", flag, "0.0.0.0:0")
		if status != exitUsage || !strings.Contains(stderr, "--listen-anywhere") {
			t.Errorf("%s: got status %d, %s", flag, status, stderr)
		}
	}
	for addr, want := range map[string]string{":80": "127.0.0.1:80", "127.1.2.3:1": "127.1.2.3:1", "localhost:1": "localhost:1", "[::1]:1": "[::1]:1", "": ""} {
		if got, err := (&server{}).loopback(addr); got != want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", addr, got, err, want)
		}
	}
	if got, err := (&server{anywhere: true}).loopback(":80"); got != ":80" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	anywhere := start(t, "--listen-anywhere", "--http", "127.0.0.1:0", "--host", "sim.example", "--tls", "--ca-out", filepath.Join(t.TempDir(), "ca.pem"))
	if !strings.HasPrefix(anywhere.API, "https://sim.example:") || !strings.HasPrefix(anywhere.MQTT, "mqtts://sim.example:") {
		t.Errorf("got %+v", anywhere.Ready)
	}
	if pem, err := os.ReadFile(anywhere.CAFile); err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
		t.Errorf("got no CA, %v", err)
	}
}

func TestMisuse(t *testing.T) {
	s := &simulator{t: t}
	for _, tt := range []struct {
		args   string
		status int
		stderr string
	}{
		{"state", exitUsage, "--url is missing"},
		{"state extra", exitUsage, "unknown command"},
		{"serve --colour", exitUsage, "unknown flag"},
		{"serve --no-range=maybe", exitUsage, "--no-range"},
		{"serve --latency=always@soon", exitUsage, "want duration"},
		{"serve --http nowhere", exitUsage, "nowhere"},
		{"serve --ota-dir /nonexistent", exitUsage, "MODULE/VERSION"},
		{"serve --ca-out /nonexistent/ca.pem", exitFailed, "write CA"},
		{"clock soon --url http://127.0.0.1:1", exitUsage, "clock"},
		{"state --url http://127.0.0.1:1", exitUnreachable, "no simulator answers"},
		{"state --url ::", exitUsage, "::"},
		{"provision", exitUsage, "accepts 1 arg"},
		{"provision x --style odd", exitUsage, "ini"},
		{"nothing", exitUsage, "unknown command"},
	} {
		t.Setenv(urlVariable, "")
		status, _, stderr := s.command(strings.Fields(tt.args)...)
		if status != tt.status || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%s: got status %d, %s; want %d, %q", tt.args, status, stderr, tt.status, tt.stderr)
		}
	}
	running := start(t)
	if status, _, stderr := running.command("provision", t.TempDir(), "--set", "nodot"); status != exitUsage || !strings.Contains(stderr, "SECTION.KEY") {
		t.Errorf("got status %d, %s", status, stderr)
	}
	if status, out, _ := s.command("version"); status != 0 || !strings.HasPrefix(out, name) {
		t.Errorf("got status %d, %s", status, out)
	}
	if status, out, _ := s.command(); status != 0 || !strings.Contains(out, "serve") {
		t.Errorf("got status %d, %s", status, out)
	}
}
