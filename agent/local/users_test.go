package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const asUser = "AGENT_TEST_SOCKET"

// userCalls are what each user tries, and who may: a(ll), g(roup) or r(oot).
var userCalls = []struct{ who, method, path, body string }{
	{"a", "GET", "/v1/status", ""},
	{"a", "GET", "/metrics", ""},
	{"g", "GET", "/v1/accounts/building/token", ""},
	{"g", "POST", "/v1/accounts/building/renew", ""},
	{"g", "POST", "/v1/accounts/building/rejected", `{"tail":"x","sha256":"` + strings.Repeat("0", 64) + `"}`},
	{"g", "GET", "/v1/proxy/building/x", ""},
	{"g", "POST", "/v1/data-files?type=log", "line\n"},
	{"r", "POST", "/v1/accounts/building/adopt", `{"token":"a.b.c"}`},
}

// TestRightsOfRealUsers has the kernel tell who asks: programs of several users
// call the same socket. Run as root it plays root, a member by primary group, one
// by supplementary group and strangers; otherwise the own user alone.
func TestRightsOfRealUsers(t *testing.T) {
	if socket := os.Getenv(asUser); socket != "" {
		callAll(socket)
		return
	}
	const group = 54321
	dir, err := os.MkdirTemp("", "users")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "client") // where other users may run it
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	s, states := following()
	states.Set(AccountState{Token: "a.b.c"})
	far := &far{token: "ours", answer: func(int, *http.Request) *http.Response { return reply(200, "") }}
	s.Proxy = far.upstream("https://cloud.example")
	s.Socket, s.Group, s.Log = filepath.Join(dir, "run", "agent.sock"), fmt.Sprint(group), slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	type user struct {
		name string
		cred *syscall.Credential
		may  string
	}
	users := []user{{"the agent's own user", nil, "agr"}}
	if os.Geteuid() == 0 {
		users = append(users,
			user{"root in no group", &syscall.Credential{Uid: 0, Gid: 0}, "agr"},
			user{"a member by primary group", &syscall.Credential{Uid: 4711, Gid: group}, "ag"},
			user{"a member by supplementary group", &syscall.Credential{Uid: 4712, Gid: 4712, Groups: []uint32{4713, group}}, "ag"},
			user{"a stranger", &syscall.Credential{Uid: 4714, Gid: 4714}, "a"},
			user{"nobody", &syscall.Credential{Uid: 65534, Gid: 65534}, "a"},
			user{"root's group without root", &syscall.Credential{Uid: 4715, Gid: 0}, "a"},
		)
	}
	for _, u := range users {
		cmd := exec.Command(program, "-test.run=^TestRightsOfRealUsers$")
		cmd.Env, cmd.Dir = []string{asUser + "=" + s.Socket}, dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.cred}
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v\n%s", u.name, err, out)
			continue
		}
		for _, c := range userCalls {
			call, may := c.method+" "+c.path, strings.Contains(u.may, c.who)
			_, rest, ok := bytes.Cut(out, []byte(call+" = "))
			if got := string(rest[:min(3, len(rest))]); !ok || (got[0] == '2') != may || !may && got != "403" {
				t.Errorf("%s: %s: got %s, want that they may: %v", u.name, call, got, may)
			}
		}
	}
}

// callAll makes each call and prints its status.
func callAll(socket string) {
	for _, c := range userCalls {
		var res *http.Response
		var err error
		for range 3000 { // until the socket is there
			tr := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}
			req, rerr := http.NewRequest(c.method, "http://localhost"+c.path, io.NopCloser(strings.NewReader(c.body)))
			if rerr != nil {
				panic(rerr)
			}
			if req.ContentLength = int64(len(c.body)); c.body == "" {
				req.Body = nil
			}
			if res, err = tr.RoundTrip(req); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			fmt.Println(c.method+" "+c.path, "=", err)
			continue
		}
		_ = res.Body.Close()
		fmt.Printf("%s %s = %d\n", c.method, c.path, res.StatusCode)
	}
}
