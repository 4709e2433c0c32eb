package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTheSocketIsForEverybody(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077)) // the unit's
	path := filepath.Join(t.TempDir(), "run", "agent", "agent.sock")
	ln, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, want := range map[string]os.FileMode{path: 0o666 | os.ModeSocket, filepath.Dir(path): 0o755 | os.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestASocketLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path); !errors.Is(err, ErrRunning) {
		t.Errorf("while it answers: got %v, want ErrRunning", err)
	}
	old.SetUnlinkOnClose(false) // as after kill -9
	old.Close()
	ln, err := listen(path)
	if err != nil {
		t.Fatalf("when it is dead: %v", err)
	}
	ln.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the end: %v, want no socket", err)
	}
}

func TestPathsThatCannotBeASocket(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                                 "is in the way",
		filepath.Join(file, "s"):             "not a directory",
		"/tmp/" + strings.Repeat("x", 107-4): "longer than 107 bytes",
	} {
		s := &Server{Socket: path, Log: slog.New(slog.DiscardHandler)}
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "keep" {
		t.Errorf("the file in the way: %q, %v", b, err)
	}
}

func TestTheKernelTellsWhoAsks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	ln, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p, err := peerOf(server)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]int, 0, len(p.groups))
	for _, g := range p.groups {
		got = append(got, int(g))
	}
	slices.Sort(got)
	slices.Sort(groups)
	if p.pid != os.Getpid() || int(p.uid) != os.Geteuid() || int(p.gid) != os.Getegid() || !slices.Equal(got, groups) {
		t.Errorf("got %+v, want pid %d, uid %d, gid %d, groups %v", p, os.Getpid(), os.Geteuid(), os.Getegid(), groups)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := peerOf(a); err == nil {
		t.Error("a pipe has a peer")
	}
}

func TestOverARealSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	var log bytes.Buffer
	s := willing()
	s.Socket, s.Group, s.Log = path, "no-such-group", slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	c := &Client{Socket: path}
	for { // until it answers
		_, err := c.Status(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, ErrNotRunning) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if pid, err := c.PID(t.Context()); err != nil || pid != os.Getpid() {
		t.Errorf("PID: got %d, %v, want %d", pid, err, os.Getpid())
	}
	if got, err := c.Token(t.Context(), DeviceAccount, 0); err != nil || got.Token != "a.b.c" {
		t.Errorf("Token: %v, %v", got, err)
	}
	if ms, err := c.OTA(t.Context()); err != nil || len(ms) != 1 {
		t.Errorf("OTA: %v, %v", ms, err)
	}
	if it, err := c.Upload(t.Context(), "log", "app", "a.log", 5, strings.NewReader("line\n")); err != nil || it.Size != 5 {
		t.Errorf("Upload: %+v, %v", it, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), path) {
		t.Errorf("afterwards: %v", err)
	}
	if !strings.Contains(log.String(), "there is no group") {
		t.Errorf("nobody is told that the group is missing: %s", log.String())
	}
}

func TestTheClientBelievesNoNonsense(t *testing.T) {
	for name, answer := range map[string]string{
		"not HTTP":       "220 mail.example.org ESMTP\r\n",
		"not JSON":       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
		"cut":            "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{\"schema\":1,",
		"another error":  "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nhi",
		"an error's lie": "HTTP/1.1 500 Oops\r\nContent-Length: 17\r\n\r\n{\"code\":\"made-up\"}",
		"nothing":        "",
	} {
		c := &Client{dial: func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				http.ReadRequest(bufio.NewReader(theirs))
				theirs.Write([]byte(answer))
				theirs.Close()
			}()
			return ours, nil
		}}
		if s, err := c.Status(t.Context()); err == nil {
			t.Errorf("%s: got %+v", name, s)
		}
		if err := c.Renew(t.Context(), DeviceAccount); err == nil && strings.HasPrefix(answer, "HTTP/1.1 5") {
			t.Errorf("%s: renew succeeded", name)
		}
	}
}

func FuzzRequests(f *testing.F) {
	f.Add("GET", "/v1/accounts/device/token?min_validity=10m", "localhost", "")
	f.Add("POST", "/v1/data-files?type=log&name=../a", Host, "body")
	f.Add("POST", "/v1/ota/%2e%2e/check", "evil", "")
	f.Fuzz(func(t *testing.T, method, target, host, body string) {
		raw := method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n" + body
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		s := willing()
		s.Log = slog.New(slog.DiscardHandler)
		c := &calls{Server: s, rights: rights{group: -1}}
		w := &answer{header: http.Header{}}
		c.routes().ServeHTTP(w, r.WithContext(context.WithValue(t.Context(), peerKey{}, stranger)))
		if strings.Contains(w.body.String(), "a.b.c") || w.status == http.StatusCreated {
			t.Errorf("a stranger got %d %s for %q", w.status, w.body.String(), raw)
		}
	})
}

// An answer keeps what a handler wrote.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header                { return a.header }
func (a *answer) Write(b []byte) (int, error)        { return a.body.Write(b) }
func (a *answer) WriteHeader(status int)             { a.status = status }
func (a *answer) Flush()                             {}
func (a *answer) SetReadDeadline(t time.Time) error  { return nil }
func (a *answer) SetWriteDeadline(t time.Time) error { return nil }
