package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func TestMain(m *testing.M) {
	version = "1.2.3"
	testscript.Main(m, map[string]func(){"spoke-zone-agent": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "UTC")
			env.Setenv("SOCKET", filepath.Join(env.WorkDir, "agent.sock"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "daemon": startDaemon, "await": await, "expand": expand, "feed": feed,
			"clouds": startClouds, "browse": browse,
		},
	})
}

// exits STATUS COMMAND... runs the command and wants that exit status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// await COMMAND... runs the command again until it succeeds.
func await(ts *testscript.TestScript, neg bool, args []string) {
	for range 6000 {
		if err := ts.Exec(args[0], args[1:]...); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s never succeeds", strings.Join(args, " "))
}

// expand FILE... replaces variables in the files.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// startDaemon STATUS.json [CODE REASON...] answers at $SOCKET as an agent with
// that status. With a code, every call but the status fails so.
func startDaemon(ts *testscript.TestScript, neg bool, args []string) {
	f := &fake{}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &f.status))
	if len(args) > 1 {
		f.fail = local.Errorf(local.Code(args[1]), "%s", strings.Join(args[2:], " "))
	}
	socket := ts.Getenv("SOCKET")
	server := &local.Server{
		Socket: socket, Log: slog.New(slog.DiscardHandler), Status: f.get,
		Token: f.token, Renew: f.renew, Adopt: f.adopt, Login: f.login, Check: f.check, Fetch: f.fetch,
		Install: f.install, Rollback: f.rollback, Add: f.add,
		Publish: f.publish, Subscribe: f.subscribe,
	}
	f.deliver = server.Deliver
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	ts.Defer(func() {
		cancel()
		if err := <-ended; err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	for range 30_000 {
		if _, err := (&local.Client{Socket: socket}).Status(ctx); err == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	ts.Fatalf("the fake daemon does not answer")
}

// feed TOPIC PAYLOAD publishes at the daemon of $SOCKET again and again until
// the script ends: nothing tells when a subscriber is there.
func feed(ts *testscript.TestScript, neg bool, args []string) {
	client := &local.Client{Socket: ts.Getenv("SOCKET")}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := client.Publish(ctx, local.Publication{Topic: args[0], Payload: &args[1]}); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	ts.Defer(func() { cancel(); <-ended })
}

// A fake is an agent that behaves, without a cloud.
type fake struct {
	mu     sync.Mutex
	status local.Status
	fail   *local.Error

	deliver func(topic string, payload []byte, m local.Message)
}

func (f *fake) get() local.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.OTA = append([]local.Module(nil), s.OTA...)
	return s
}

func (f *fake) failure() error {
	if f.fail == nil {
		return nil
	}
	return f.fail
}

func (f *fake) token(_ context.Context, account string, min time.Duration) (local.TokenAnswer, error) {
	if account != local.DeviceAccount {
		return local.TokenAnswer{}, local.Errorf(local.NotFound, "there is no account %q", account)
	}
	expires := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	return local.TokenAnswer{Token: "header.claims.signature", Expires: expires, Stale: min > 24*time.Hour}, f.failure()
}

func (f *fake) renew(context.Context, string) error { return f.failure() }

// adopt accepts one token.
func (f *fake) adopt(_ context.Context, _, token string) error {
	if token != "header.claims.signature" {
		return local.Errorf(local.Refused, "POST /loginDevice: 401 Unauthorized")
	}
	return f.failure()
}

// login is that of the account building, whose browser comes back to a page of
// another machine.
func (f *fake) login(_ context.Context, name string, l local.Login) (local.LoginAnswer, error) {
	back := "https://example.com/back"
	switch {
	case name != "building":
		return local.LoginAnswer{}, local.Errorf(local.NotFound, "there is no account %q", name)
	case l.Cookie == "user=good-session" || l.Answer == back+"?code=c&state=s":
		return local.LoginAnswer{Done: true}, f.failure()
	case l.Cookie != "" || l.Answer != "":
		return local.LoginAnswer{}, local.Errorf(local.Refused, "the cloud sends to its login page")
	}
	return local.LoginAnswer{Open: "https://place.example.com/auth/oauth/authorize?state=s", Redirect: back}, f.failure()
}

func (f *fake) check(_ context.Context, module string) error {
	f.change(module, func(m *local.Module) { m.Offered, m.Phase = "1.1.0", "offered" })
	return f.failure()
}

func (f *fake) fetch(ctx context.Context, module string) error {
	f.change(module, func(m *local.Module) { m.Phase, m.Total = "fetching", 4<<20 })
	for n := int64(1); n <= 4; n++ {
		f.change(module, func(m *local.Module) { m.Bytes = n << 20 })
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	if f.fail == nil {
		f.change(module, func(m *local.Module) { m.Phase, m.File, m.SHA256 = "verified", "/var/lib/payload", "5891b5b5" })
	}
	return f.failure()
}

// install goes through an update, as slowly as a person can follow.
func (f *fake) install(_ context.Context, module string, now bool) error {
	if f.fail != nil {
		return f.failure()
	}
	waits := "the window opens at Sun 2026-11-29 03:00 UTC"
	f.change(module, func(m *local.Module) {
		m.Phase, m.Offered, m.Bytes, m.Total, m.Approved = "READY", "1.1.0", 4<<20, 4<<20, "approved"
		m.Waits, m.Reason = waits, "1.1.0 is fetched and its digest recorded; "+waits
	})
	if now {
		f.change(module, func(m *local.Module) {
			m.Phase, m.Waits, m.Reason, m.Percent, m.Step = "INSTALLING", "", "the hook installs 1.1.0 (40 % unpacking)", 40, "unpacking"
		})
	}
	return nil
}

func (f *fake) rollback(_ context.Context, module string) error {
	f.change(module, func(m *local.Module) {
		m.Phase, m.Offered, m.Bytes, m.Total, m.Percent, m.Step, m.Approved, m.Reason = "IDLE", "", 0, 0, 0, "", "", "no active release is newer than 1.0.0"
		m.Denied, m.Outcome = "1.1.0 is passed over: given up by a person", "1.1.0 FAILED: given up by a person"
	})
	return f.failure()
}

func (f *fake) change(module string, how func(*local.Module)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.status.OTA {
		if f.status.OTA[i].Module == module {
			how(&f.status.OTA[i])
		}
	}
}

func (f *fake) add(_ context.Context, typ, module, name string, r io.Reader) (local.Item, error) {
	n, err := io.Copy(io.Discard, r)
	if err == nil {
		err = f.failure()
	}
	return local.Item{ID: "7", Name: name, Type: typ, Module: module, Size: n}, err
}

// publish brings the message back to whoever has subscribed to it.
func (f *fake) publish(_ context.Context, p local.Publication) error {
	topic, err := local.Topic("mrs/d/7", p.Topic)
	if err != nil {
		return local.Errorf(local.Invalid, "%v", err)
	}
	payload, err := p.Bytes()
	if err != nil {
		return err
	}
	f.deliver(topic, payload, local.Message{Topic: local.Short("mrs/d/7", topic), QoS: p.Level(), Retained: p.Retain})
	return f.failure()
}

func (f *fake) subscribe(filter string) (string, error) {
	full, err := local.Filter("mrs/d/7", filter)
	if err != nil {
		return "", local.Errorf(local.Invalid, "%v", err)
	}
	return full, nil
}
