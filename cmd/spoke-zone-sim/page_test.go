package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// A ruled is a simulated cloud with the page that rules it.
type ruled struct {
	t     *testing.T
	cloud *cloudtest.Cloud
	admin *admin
	page  http.Handler
}

func rule(t *testing.T) *ruled {
	t.Helper()
	cloud := cloudtest.New(cloudtest.Options{})
	others := clouds(newClouds(nil, 1, nil))
	t.Cleanup(func() { others.Close(); cloud.Close() })
	a := &admin{cloud: cloud, others: others, ready: Ready{Addrs: cloudtest.MemoryTLSAddrs}, files: t.TempDir(), gateways: filepath.Join(t.TempDir(), "gateways")}
	return &ruled{t, cloud, a, a.page(nil, false)}
}

// ask sends what the page would, and returns the answer.
func (r *ruled) ask(method, path string, v any) (int, []byte) {
	r.t.Helper()
	var body io.Reader = http.NoBody
	if v != nil {
		body = object(v)
	}
	q := httptest.NewRequest(method, "/api"+path, body)
	q.Host = "127.0.0.1:1"
	q.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	r.page.ServeHTTP(w, q)
	return w.Code, w.Body.Bytes()
}

// must is ask for what has to succeed.
func (r *ruled) must(v any, method, path string, request any) {
	r.t.Helper()
	status, body := r.ask(method, path, request)
	if status != http.StatusOK {
		r.t.Fatalf("%s %s: got %d: %s", method, path, status, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		r.t.Fatalf("%s %s: got %q: %v", method, path, body, err)
	}
}

func TestPageProvisionsAsTheCommandDoes(t *testing.T) {
	s := start(t, "--tls", "--console", "127.0.0.1:0", "--gateways", t.TempDir(), "--token-life", "60s", "--window", "40s", "--grace", "30s")
	post := func(request GatewayRequest) (answer GatewayAnswer) {
		t.Helper()
		resp, err := http.Post(s.Console+"api/gateways", "application/json", object(request))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("got %s, %v", resp.Status, err)
		}
		return answer
	}
	dir := filepath.Join(t.TempDir(), "gateway")
	var made Provisioned
	s.must(&made, "provision", dir)
	given := post(GatewayRequest{Device: made.Device, Dir: dir})
	if given.Written || given.Dir != dir || !slices.Equal(given.Names, []string{"agent.conf", "ca.pem", "spoke-zone.conf", "versions/display"}) {
		t.Fatalf("got %+v", given)
	}
	for name, got := range given.Files {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "spoke-zone.conf" { // the tokens differ
			got, want = got[:strings.Index(got, "mqtt_username")], want[:bytes.Index(want, []byte("mqtt_username"))]
		}
		if got != string(want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	written := post(GatewayRequest{Name: "another"})
	if !written.Written || written.Files != nil || written.Device == made.Device {
		t.Errorf("got %+v", written)
	}
	settings, err := conf.Load(filepath.Join(written.Dir, "agent.conf"))
	if err != nil {
		t.Fatal(err)
	}
	identity, err := conf.ReadIdentity(settings.Paths.Identity)
	if err != nil || identity.DeviceID != strconv.Itoa(written.Device) {
		t.Errorf("the agent's identity: %v, %v", identity, err)
	}
}

func TestPageFaultsWhatCannotBeProvisioned(t *testing.T) {
	r := rule(t)
	for _, q := range []GatewayRequest{
		{Name: ".."}, {Name: "../x"}, {Name: "a/b"}, {Name: "A"}, {Name: "a\n"}, {Name: "-a"}, {Name: strings.Repeat("a", 65)},
		{Dir: "relative"}, {Dir: "/a b"}, {Dir: "/a\n[command.x]"}, {Dir: "/a;b"}, {Dir: "/"},
		{Modules: []string{"../../etc"}}, {Modules: []string{"a]\n[x"}}, {Modules: []string{""}},
		{Modules: slices.Repeat([]string{"a"}, maxModules+1)}, {Version: strings.Repeat("1", maxVersion+1)},
		{Version: "1\n2"}, {Policy: "install\nx = y"}, {Style: "none"}, {Device: 5},
	} {
		if status, body := r.ask("POST", "/gateways", q); status != http.StatusBadRequest {
			t.Errorf("%+v: got %d: %s", q, status, body)
		}
	}
	if n := len(r.cloud.Devices()); n != 0 {
		t.Errorf("%d devices came of it", n)
	}
	var made GatewayAnswer
	r.must(&made, "POST", "/gateways", GatewayRequest{Name: "mine"})
	if status, body := r.ask("POST", "/gateways", GatewayRequest{Name: "mine"}); status != http.StatusBadRequest || !strings.Contains(string(body), "there already") {
		t.Errorf("a directory that is there: got %d: %s", status, body)
	}
	if info, err := os.Stat(filepath.Join(made.Dir, "spoke-zone.conf")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the identity: %v, %v", info.Mode(), err)
	}
}

func TestOnlySoManyDevicesAreMade(t *testing.T) {
	r := rule(t)
	for _, d := range []cloudtest.Device{
		{Modules: slices.Repeat([]string{"a"}, maxModules+1)}, {Further: slices.Repeat([]string{"a"}, maxModules+1)},
		{Base: strings.Repeat("a", maxTexts+1)},
	} {
		if status, body := r.ask("POST", "/devices", d); status != http.StatusBadRequest || !strings.Contains(string(body), "at most") {
			t.Errorf("too large: got %d: %s", status, body)
		}
	}
	for i := range maxDevices - 1 {
		r.cloud.AddDevice(cloudtest.Device{ID: 1 + i})
	}
	for _, tt := range []struct {
		path string
		v    any
		want int
	}{
		{"/devices", cloudtest.Device{}, http.StatusOK},
		{"/devices", cloudtest.Device{}, http.StatusBadRequest},
		{"/devices", cloudtest.Device{ID: 5}, http.StatusOK}, // again
		{"/gateways", GatewayRequest{}, http.StatusBadRequest},
		{"/gateways", GatewayRequest{Device: 5}, http.StatusOK},
	} {
		status, body := r.ask("POST", tt.path, tt.v)
		if status != tt.want || status != http.StatusOK && !strings.Contains(string(body), "10000 devices already") {
			t.Errorf("%s %+v: got %d: %.200s", tt.path, tt.v, status, body)
		}
	}
	if n := len(r.cloud.Devices()); n != maxDevices {
		t.Errorf("there are %d devices", n)
	}
}

// FuzzGatewayRequest writes no file outside of the directory of gateways, and
// no setting that was not asked for.
func FuzzGatewayRequest(f *testing.F) {
	f.Add("gateway", "", "display", "1.0", "fetch", "ini")
	f.Add("..", "/a/../b", "a\n[x]", "1\n", "x", "untidy")
	f.Add("", "/tmp/a", "a-1", "é", "notify", "quoted")
	f.Fuzz(func(t *testing.T, name, dir, module, version, policy, style string) {
		q := GatewayRequest{Name: name, Dir: dir, Modules: []string{module}, Version: version, Policy: policy, Style: style}
		if q.check() != nil {
			return
		}
		if name != "" && filepath.Dir(filepath.Join("/gateways", name)) != "/gateways" {
			t.Errorf("name %q leads elsewhere", name)
		}
		g := gateway{style: q.Style, modules: q.Modules, version: q.Version, policy: q.Policy}
		if err := g.complete(cloudtest.Device{}); err != nil {
			t.Fatal(err)
		}
		files, err := g.files("/gateways/x", State{Window: "40s", Grace: "30s"}, Credentials{Token: "a.b.c"})
		if err != nil {
			t.Fatal(err)
		}
		for path := range files {
			if !filepath.IsLocal(path) {
				t.Errorf("%q is elsewhere", path)
			}
		}
		if n := strings.Count(files["agent.conf"], "\n["); n != 6 {
			t.Errorf("%d sections: %s", n, files["agent.conf"])
		}
	})
}

func TestPageShowsTailsOfTokensUntilAsked(t *testing.T) {
	r := rule(t)
	d := r.cloud.AddDevice(cloudtest.Device{})
	token := r.cloud.Issue(d.ID, 0)
	parts, err := json.Marshal(r.admin.parts())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(parts, []byte(token[len(token)-6:])) || bytes.Contains(parts, []byte(token)) {
		t.Errorf("got %s", parts)
	}
	if _, body := r.ask("GET", "/state", nil); bytes.Contains(body, []byte(token)) {
		t.Error("the state has the whole token")
	}
	var answer struct{ Token string }
	r.must(&answer, "POST", "/devices/123/reveal", nil)
	if answer.Token != token {
		t.Errorf("got %q", answer.Token)
	}
	if status, _ := r.ask("POST", "/devices/9/reveal", nil); status != http.StatusBadRequest {
		t.Errorf("a device that is not there: got %d", status)
	}
	if status, _ := r.ask("GET", "/devices/123/reveal", nil); status != http.StatusMethodNotAllowed {
		t.Errorf("by GET: got %d", status)
	}
}

func TestPageListsAndSwitchesTheFaultsOfEveryCloud(t *testing.T) {
	r := rule(t)
	var all []CloudFaults
	r.must(&all, "GET", "/faults", nil)
	if len(all) != 1+len(cloudNames) || len(all[0].Faults) != len(cloudtest.Faults) || all[1].Cloud != cloudNames[0] {
		t.Fatalf("got %+v", all)
	}
	for _, cloud := range all {
		name := string(cloud.Faults[0].Name)
		if cloud.Cloud != "" {
			name = cloud.Cloud + "." + name
		}
		var on map[string]string
		r.must(&on, "POST", "/fault", map[string]string{name: "1/5"})
		if on[name] != "1/5" {
			t.Errorf("%s: got %v", name, on)
		}
	}
	if got := r.admin.parts()["faults"].(map[string]string); len(got) != len(all) {
		t.Errorf("the page shows %v", got)
	}
}

func TestPageCutsOneDevice(t *testing.T) {
	r := rule(t)
	for _, tt := range []struct {
		query string
		want  int
	}{{"", 200}, {"?device=123", 200}, {"?device=x", 400}} {
		if status, body := r.ask("POST", "/mqtt/drop"+tt.query, nil); status != tt.want {
			t.Errorf("%q: got %d: %s", tt.query, status, body)
		}
	}
}

func TestPageListsTheNewestOnly(t *testing.T) {
	r := rule(t)
	for range maxListed + 1 {
		r.cloud.AddDevice(cloudtest.Device{})
		r.cloud.Offer("display", "1", cloudtest.Seeded(1, 5))
	}
	var parts struct {
		Devices struct {
			List  []DeviceState
			Count int
		}
		Releases struct{ List []ReleaseState }
	}
	text, err := json.Marshal(r.admin.parts())
	if err == nil {
		err = json.Unmarshal(text, &parts)
	}
	if err != nil || len(parts.Devices.List) != maxListed || parts.Devices.Count != maxListed+1 {
		t.Errorf("got %d of %d devices, %v", len(parts.Devices.List), parts.Devices.Count, err)
	}
	if n := len(parts.Releases.List); n != maxListed || parts.Releases.List[n-1].ID != 7+maxListed || parts.Releases.List[0].Size != 5 {
		t.Errorf("got %d releases", n)
	}
}

func TestConsoleWithoutACommandIsASimulator(t *testing.T) {
	for _, args := range [][]string{{"--console=127.0.0.1:0"}, {"--console", "127.0.0.1:0"}, {"--console"}} {
		ctx, cancel := context.WithCancel(t.Context())
		out, w := io.Pipe()
		status := make(chan int)
		go func() {
			code := run(ctx, args, w, io.Discard)
			w.Close()
			status <- code
		}()
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "console  http://127.0.0.1:") {
			t.Errorf("%q: got %q, %v", args, line, err)
		}
		cancel()
		go io.Copy(io.Discard, out)
		if code := <-status; code != 0 {
			t.Errorf("%q: got status %d", args, code)
		}
	}
	for _, args := range [][]string{{"--console=0.0.0.0:0"}, {"--console", "127.0.0.1:0", "more"}, {"more"}, {"serve", "--console", "192.0.2.1:1"}} {
		var stderr bytes.Buffer
		if status := run(t.Context(), args, io.Discard, &stderr); status != exitUsage {
			t.Errorf("%q: got %d: %s", args, status, stderr.String())
		}
	}
}
