package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/test/peers"
)

const (
	mib      = 1 << 20
	password = "-"
	subUser  = "mosquitto-sub"
	// keepAlive is the agent's default, in seconds.
	keepAlive = "20"
)

// rig is what the programs are measured against.
type rig struct {
	options
	dir    string
	www    string
	certs  peers.Certificates
	broker *peers.Mosquitto
	web    *peers.Nginx
	tokens [2]string // users of the broker

	api    *http.Server
	served errgroup.Group
}

func newRig(o options, dir string) (*rig, error) {
	r := &rig{options: o, dir: dir, www: filepath.Join(dir, "www"), tokens: [2]string{token("1"), token("2")}}
	// A copy of its own, which shares memory with no other agent that runs.
	binary, err := os.ReadFile(o.agent)
	if err != nil {
		return nil, err
	}
	r.agent = filepath.Join(dir, "spoke-zone-agent")
	if err := os.WriteFile(r.agent, binary, 0o755); err != nil {
		return nil, err
	}
	if r.certs, err = peers.NewCertificates(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(r.www, 0o755); err != nil {
		return nil, err
	}
	users := map[string]string{r.tokens[0]: password, r.tokens[1]: password, subUser: password}
	if r.broker, err = peers.StartMosquitto(dir, r.certs, users); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r.api = &http.Server{Handler: emptyCloud()}
	r.served.Go(func() error { return r.api.Serve(l) })
	r.web, err = peers.StartNginx(dir, r.certs, r.www, l.Addr().String(), "0")
	return r, err
}

func (r *rig) stop() {
	r.broker.Stop()
	r.web.Stop()
	r.api.Close()
	r.served.Wait()
}

// emptyCloud is an API with nothing to do: tokens are good, no release is new.
func emptyCloud() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /loginDevice", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"ok","message":"Token is valid"}`)
	})
	mux.HandleFunc("GET /api/v2/ota-files", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[]`) })
	return mux
}

// token is one of middle age, which nobody renews.
func token(serial string) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	now := time.Now()
	return part(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + part(map[string]any{
		"deviceId": 4711, "prefix": "mrs/d/4711", "jti": serial,
		"iat": now.Add(-24 * time.Hour).Unix(), "exp": now.Add(6 * 24 * time.Hour).Unix(),
	}) + "." + strings.Repeat("s", 43)
}

// gateway makes a directory with settings that lead the agent here, and returns
// the command that runs it.
func (r *rig) gateway() (*exec.Cmd, error) {
	dir, err := os.MkdirTemp(r.dir, "gateway.")
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		"version":         "1.0.0\n",
		"spoke-zone.conf": "[mqtt]\nmqtt_username = " + r.tokens[0] + "\nmqtt_password = " + password + "\n[device]\ncpu_id = c\nuuid = u\n",
		"agent.conf": fmt.Sprintf(`[paths]
identity = %[1]s/spoke-zone.conf
state    = %[1]s/state
run      = %[1]s/run
spool    = %[1]s/spool
[cloud]
url     = https://%[2]s
ca_file = %[4]s
[mqtt]
broker     = mqtts://%[3]s
keep_alive = %[5]ss
[module.display]
version_file = %[1]s/version
policy       = fetch
[local]
group =
`, dir, r.web.Addr, r.broker.Addr, r.certs.CA, keepAlive),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"state", "run", "spool"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	return exec.Command(r.agent, "run", "--config", filepath.Join(dir, "agent.conf")), nil
}

// subscriber is the command of the program that the agent's session is measured
// beside.
func (r *rig) subscriber(id string) *exec.Cmd {
	host, port, _ := strings.Cut(r.broker.Addr, ":")
	return exec.Command("mosquitto_sub", "-h", host, "-p", port, "--cafile", r.certs.CA, "-u", subUser, "-P", password,
		"-i", id, "-t", "mrs/d/4711/ctrl/#", "-q", "1", "-k", keepAlive)
}

// release is a program's name and the first number of version that it prints.
func release(name string, args ...string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name)
	}
	out, _ := exec.Command(path, args...).CombinedOutput()
	return filepath.Base(name) + " " + regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)*`).FindString(string(out))
}
