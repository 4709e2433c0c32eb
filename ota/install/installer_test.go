package install

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/ota"
	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// TestMain is also the process that runs a hook.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "hook-run" {
		breakDisk()
		if err := RunJob(context.Background(), os.Args[2], slog.New(slog.DiscardHandler)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// goodHook notes each call and copies the payload to $STATE/../../../installed.
const goodHook = `#!/bin/sh
top=%s
echo "$1 $SPOKE_OTA_VERSION $SPOKE_OTA_ATTEMPT" >>$top/calls
case $1 in
info) echo '@set api=1'; echo '@set timeout.install=77' ;;
probe) if cmp -s "$SPOKE_OTA_FILE" $top/installed; then exit 20; else exit 22; fi ;;
install) echo '@progress 50 copying'; [ ! -e $top/slow ] || { touch $top/busy; while [ -e $top/slow ]; do sleep 0.02; done; }
	cp "$SPOKE_OTA_FILE" $top/installed; exit $(cat $top/code 2>/dev/null || echo 0) ;;
esac
exit 0
`

// A bench is an installer and its client in a temporary directory, where the
// test's user stands for root.
type bench struct {
	*testing.T
	top    string
	key    release.SecretKey
	rule   Rule
	ruleIs error
	in     *Installer
	client *Client
}

func secretKey(t *testing.T, n byte) (release.SecretKey, []byte) {
	t.Helper()
	k := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+n)), ed25519.SeedSize)))
	id := []byte{n, 0, 0, 0, 0, 0, 0, 1}
	secret := append([]byte("Ed\x00\x00B2"), make([]byte, 48)...)
	secret = append(append(append(secret, id...), k...), make([]byte, 32)...)
	key, err := release.ParseSecretKey([]byte(base64.StdEncoding.EncodeToString(secret)), nil)
	if err != nil {
		t.Fatal(err)
	}
	public := append(append([]byte("Ed"), id...), k.Public().(ed25519.PublicKey)...)
	return key, []byte(base64.StdEncoding.EncodeToString(public))
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, top: t.TempDir()}
	var public []byte
	b.key, public = secretKey(t, 0)
	b.write("keys/a.pub", public)
	b.write("hook", fmt.Appendf(nil, goodHook, b.top))
	b.write("agent/x", nil)
	b.rule = Rule{Hook: b.path("hook"), Require: "signature", Keys: b.path("keys/*.pub"), Rollback: "auto"}
	b.in = &Installer{
		Agent: b.path("agent"), State: b.path("state"), Dir: b.path("run"), MaxPayload: 1 << 20, KeepDone: 20, Program: os.Args[0],
		Log:   slog.New(slog.DiscardHandler),
		Rule:  func(string) (Rule, error) { return b.rule, b.ruleIs },
		trust: func(path string) (string, error) { _, err := os.Stat(path); return path, err },
	}
	b.client = &Client{Agent: b.in.Agent, Results: b.path("state/results"), Dir: b.in.Dir, asked: func() error {
		ended := make(chan error, 1)
		in := *b.in
		go func() { ended <- in.Run(context.Background()) }()
		t.Cleanup(func() {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return nil
	}}
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.top, name) }

func (b *bench) write(name string, data []byte) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), data, 0o755); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) read(name string) string {
	b.Helper()
	data, err := os.ReadFile(b.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	return string(data)
}

// release is an update whose payload the daemon has fetched.
func (b *bench) release(seq uint32, version, payload string, counter int64) ota.Txn {
	b.Helper()
	b.write("agent/ota/payload", []byte(payload))
	d := release.NewDigest()
	d.Write([]byte(payload))
	line, err := b.key.Sign(d, "display", version, counter)
	if err != nil {
		b.Fatal(err)
	}
	return ota.Txn{Seq: seq, Module: "display", ID: "17", From: "1.0.0", To: ota.Version(version), Notes: "New.\n" + line.String() + "\n", Attempt: 1,
		Payload: ota.Payload{Path: b.path("agent/ota/payload")}}
}

func (b *bench) do(verb ota.Verb, t ota.Txn) ota.Result {
	b.Helper()
	r, err := b.client.Do(b.Context(), verb, t)
	if err != nil {
		b.Fatalf("%s: %v", verb, err)
	}
	return r
}

func (b *bench) wants(verb ota.Verb, t ota.Txn, code ota.Code, words string) {
	b.Helper()
	if r := b.do(verb, t); r.Code != code || !strings.Contains(r.Text, words) {
		b.Errorf("%s: %v %q, want %v with %q", verb, r.Code, r.Text, code, words)
	}
}

func TestASignedReleaseIsInstalled(t *testing.T) {
	b := newBench(t)
	up := b.release(1, "1.1.0", "the payload", 5)
	if r := b.do(ota.HookInfo, up); r.Settings["api"] != "1" {
		t.Errorf("info %+v", r)
	}
	b.wants(ota.HookCheck, up, ota.HookOK, "")
	b.wants(ota.HookProbe, up, ota.HookPrevious, "")
	if _, ok, err := b.client.Last(t.Context(), ota.HookInstall, up); ok || err != nil {
		t.Errorf("an installation that was not asked for: %v, %v", ok, err)
	}
	b.write("agent/ota/payload", []byte("swapped after the check")) // the installer has its own copy
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	if r, ok, err := b.client.Last(t.Context(), ota.HookInstall, up); !ok || err != nil || r.Code != ota.HookOK {
		t.Errorf("last: %+v, %v, %v", r, ok, err)
	}
	if got := b.read("installed"); got != "the payload" {
		t.Errorf("installed is %q", got)
	}
	b.wants(ota.HookProbe, up, ota.HookActive, "")
	b.wants(ota.HookVerify, up, ota.HookOK, "")
	b.wants(ota.HookCommit, up, ota.HookOK, "")
	b.wants(ota.HookCleanup, up, ota.HookOK, "")
	b.eventually("the answered job is cleared away", func() bool { // the answer comes first
		jobs, err := os.ReadDir(b.path("state/jobs"))
		return err == nil && len(jobs) == 0
	})
	if over, err := b.client.Running(t.Context(), up); over != nil || err != nil {
		t.Errorf("something runs: %v", err)
	}
	for _, dir := range []string{"state/txn", "state/jobs", "agent/install"} {
		if left, err := os.ReadDir(b.path(dir)); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}

	// Signed by the same key and once good: now old.
	for _, old := range []ota.Txn{b.release(2, "1.0.0", "old payload", 4), b.release(3, "1.0.0", "old payload", 0)} {
		b.wants(ota.HookCheck, old, ota.HookDowngrade, "an old release: ")
		b.wants(ota.HookInstall, old, ota.HookDowngrade, "an old release: ")
	}
	b.wants(ota.HookCheck, b.release(4, "1.0.0", "signed anew", 6), ota.HookOK, "")
}

func TestVersionsDoNotFallWithoutCountersEither(t *testing.T) {
	b := newBench(t)
	up := b.release(1, "1.1.0", "the payload", 0)
	b.wants(ota.HookCheck, up, ota.HookOK, "")
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	b.wants(ota.HookCheck, b.release(1, "1.0.0", "x", 0), ota.HookOK, "") // it was not made permanent
	b.wants(ota.HookCheck, up, ota.HookReject, "")                        // its payload is gone
	up = b.release(1, "1.1.0", "the payload", 0)
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	b.wants(ota.HookCommit, up, ota.HookOK, "")
	b.wants(ota.HookCheck, b.release(2, "1.0.9", "x", 0), ota.HookDowngrade, "its version is 1.0.9, and 1.1.0 was installed")
	b.wants(ota.HookCheck, b.release(3, "1.1.0", "y", 0), ota.HookOK, "")
}

func TestWhatIsNotAsItShouldBeReachesNoHook(t *testing.T) {
	b := newBench(t)
	other, _ := secretKey(t, 1)
	swap := func(old, with string) func(*ota.Txn) {
		return func(up *ota.Txn) { up.Notes = strings.Replace(up.Notes, old, with, 1) }
	}
	payload := func(make func(name string) error) func(*ota.Txn) {
		return func(up *ota.Txn) {
			must(t, os.Remove(up.Payload.Path))
			must(t, make(up.Payload.Path))
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(*ota.Txn)
		code  ota.Code
		words string
	}{
		{"no line", func(up *ota.Txn) { up.Notes = "New." }, ota.HookReject, "the notes hold no ota1 line"},
		{"unsigned", func(up *ota.Txn) { up.Notes, _, _ = strings.Cut(up.Notes, " sig=") }, ota.HookReject, "the release is not signed"},
		{"another module's notes", swap("module=display", "module=app"), ota.HookReject, "it is for module app, not display"},
		{"an old release's notes", func(up *ota.Txn) { up.To = "1.2.0" }, ota.HookReject, "it is for version 1.1.0, not 1.2.0"},
		{"a changed statement", swap("counter=5", "counter=6"), ota.HookReject, "has not signed this statement"},
		{"a foreign key", func(up *ota.Txn) {
			b.key, other = other, b.key
			*up = b.release(1, "1.1.0", "the payload", 5)
			b.key, other = other, b.key
		}, ota.HookReject, "signed with a key that is not trusted here"},
		{"a tampered payload", payload(func(name string) error { return os.WriteFile(name, []byte("the pAyload"), 0o600) }), ota.HookReject, "its SHA-256 is"},
		{"a short payload", payload(func(name string) error { return os.WriteFile(name, []byte("the"), 0o600) }), ota.HookReject, "it has 3 bytes, not 11"},
		{"a huge payload", payload(func(name string) error {
			return errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, 10<<30))
		}), ota.HookReject, "more than limits.max_payload"},
		{"a link for a payload", payload(func(name string) error {
			return errors.Join(os.WriteFile(b.path("agent/real"), []byte("the payload"), 0o600), os.Symlink("../real", name))
		}), ota.HookReject, "is no regular file"},
		{"a link that leads out", payload(func(name string) error { return os.Symlink("/etc/passwd", name) }), ota.HookReject, "the payload: "},
		{"a pipe", payload(func(name string) error { return syscall.Mkfifo(name, 0o600) }), ota.HookReject, "is no regular file"},
		{"a directory", payload(func(name string) error { return os.Mkdir(name, 0o700) }), ota.HookReject, "is no regular file"},
		{"nothing", func(up *ota.Txn) { must(t, os.Remove(up.Payload.Path)) }, ota.HookReject, "no such file"},
	} {
		for _, verb := range []ota.Verb{ota.HookCheck, ota.HookInstall} {
			t.Run(c.name+" "+string(verb), func(t *testing.T) {
				must(t, os.RemoveAll(b.path("agent/ota")))
				up := b.release(1, "1.1.0", "the payload", 5)
				c.spoil(&up)
				b.T = t
				b.wants(verb, up, c.code, c.words)
			})
		}
	}
	b.T = t
	if calls := b.read("calls"); calls != "" {
		t.Errorf("a hook was called: %s", calls)
	}
	b.rule.Keys = b.path("nokeys/*.pub")
	b.wants(ota.HookCheck, b.release(1, "1.1.0", "the payload", 5), ota.HookLater, "names no public key")
	b.ruleIs = errors.New("install.conf:3: has a fault")
	b.wants(ota.HookInstall, b.release(1, "1.1.0", "the payload", 5), ota.HookLater, "install.conf:3: has a fault")
	if _, err := b.client.Do(t.Context(), ota.HookProbe, b.release(1, "1.1.0", "the payload", 5)); err == nil {
		t.Error("a probe is answered without a policy")
	}
	b.ruleIs, b.rule = nil, Rule{Hook: b.path("nothing")}
	if _, err := b.client.Do(t.Context(), ota.HookInfo, b.release(1, "1.1.0", "the payload", 5)); !errors.Is(err, ota.ErrNoInstaller) {
		t.Errorf("without a hook: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLessMayBeRequired(t *testing.T) {
	b := newBench(t)
	b.rule.Require = "digest"
	up := b.release(1, "1.1.0", "the payload", 5)
	up.Notes, _, _ = strings.Cut(up.Notes, " sig=")
	b.wants(ota.HookCheck, up, ota.HookOK, "")
	b.write("agent/ota/payload", []byte("the pAyload"))
	up.Seq = 2
	b.wants(ota.HookCheck, up, ota.HookReject, "its SHA-256 is")
	b.rule.Require = "none"
	b.wants(ota.HookInstall, up, ota.HookReject, "its SHA-256 is") // what is said must be true
	up.Notes = "New."
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	b.rule.Rollback = "never"
	b.wants(ota.HookRollback, up, ota.HookReject, "rollback = never")
	if r := b.do(ota.HookInfo, up); r.Settings["rollback"] != "no" {
		t.Errorf("info %+v", r)
	}
}

func TestNoDeathStartsASecondHook(t *testing.T) {
	b := newBench(t)
	up := b.release(1, "1.1.0", "the payload", 5)
	b.write("slow", nil)
	ctx, kill := context.WithCancel(t.Context())
	spawn := b.client.asked
	ended := make(chan error, 1)
	b.client.asked = func() error {
		in := *b.in
		go func() { ended <- in.Run(ctx) }()
		return nil
	}
	asking, giveUp := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() {
		_, err := b.client.Do(asking, ota.HookInstall, up)
		asked <- err
	}()
	b.eventually("the hook works", func() bool { return b.read("calls") != "" && exists(b.path("busy")) })
	kill() // the installer's death
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	giveUp() // and the daemon's
	if err := <-asked; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	b.client.asked = spawn
	over, err := b.client.Running(t.Context(), up) // starts an installer again, which waits
	if err != nil || over == nil {
		t.Fatalf("nothing runs: %v", err)
	}
	if _, ok, err := b.client.Last(t.Context(), ota.HookInstall, up); ok || err != nil {
		t.Errorf("it has ended: %v", err)
	}
	must(t, os.Remove(b.path("slow")))
	select {
	case <-over:
	case <-time.After(2 * time.Minute):
		t.Fatal("it never ends")
	}
	if r, ok, err := b.client.Last(t.Context(), ota.HookInstall, up); !ok || err != nil || r.Code != ota.HookOK {
		t.Errorf("last: %+v, %v, %v", r, ok, err)
	}
	if n := strings.Count(b.read("calls"), "install "); n != 1 {
		t.Errorf("the hook was called %d times", n)
	}
}

func TestAHookOutlivesItsParentAlone(t *testing.T) {
	b := newBench(t)
	up := b.release(1, "1.1.0", "the payload", 5)
	b.write("slow", nil)
	told := make(chan string, 10)
	up.Progress = func(percent int, phase string) { told <- fmt.Sprint(percent, " ", phase) }
	asked := make(chan error, 1)
	go func() {
		_, err := b.client.Do(t.Context(), ota.HookInstall, up)
		asked <- err
	}()
	b.eventually("the hook works", func() bool { return exists(b.path("busy")) })
	progress := ""
	select {
	case progress = <-told:
	case <-time.After(time.Minute): // which only a failure waits out
	}
	if progress != "50 copying" {
		t.Errorf("progress %q", progress)
	}
	kill9(t, "hook-run", b.path("state/jobs"))
	select {
	case err := <-asked:
		t.Fatalf("answered while the hook works: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	must(t, os.Remove(b.path("slow")))
	if err := <-asked; err == nil || !strings.Contains(err.Error(), "does not know how it ended") {
		t.Errorf("error %v", err)
	}
	b.wants(ota.HookProbe, up, ota.HookActive, "")
}

// kill9 kills the process of this test that has both words in its arguments.
func kill9(t *testing.T, words ...string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, name := range all {
		line, _ := os.ReadFile(name)
		args := strings.ReplaceAll(string(line), "\x00", " ")
		if strings.HasPrefix(args, os.Args[0]+" ") && strings.Contains(args, words[0]) && strings.Contains(args, words[1]) {
			var pid int
			fmt.Sscanf(name, "/proc/%d/", &pid)
			must(t, unix.Kill(pid, unix.SIGKILL))
			return
		}
	}
	t.Fatal("there is no such process")
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

func (b *bench) eventually(what string, is func() bool) {
	b.Helper()
	for range 6000 {
		if is() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatalf("never: %s", what)
}

func TestTheWatchedDirectoryBecomesEmptyWhateverIsInIt(t *testing.T) {
	b := newBench(t)
	dir := b.path("agent/install")
	must(t, os.MkdirAll(filepath.Join(dir, "d/e"), 0o700))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	must(t, os.Symlink("/etc", filepath.Join(dir, "link")))
	for n := range 200 {
		b.write(fmt.Sprintf("agent/install/%d", n), []byte(`{"api":1,"nonce":"../../x"}`))
	}
	b.write("agent/install/huge", []byte(strings.Repeat(" ", requestBytes+1)))
	b.write("agent/install/d/e/f", nil)
	must(t, b.in.Run(t.Context()))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if left, err := os.ReadDir(b.path("state/results")); err != nil || len(left) > 0 {
		t.Errorf("results: %v, %v", left, err)
	}
}

func TestAnOldRequestIsNotCarriedOut(t *testing.T) {
	b := newBench(t)
	must(t, os.MkdirAll(b.path("agent/install"), 0o700))
	b.client.asked = nil
	up := b.release(1, "1.1.0", "the payload", 5)
	q, name, err := b.client.ask(ota.HookInstall, up)
	must(t, err)
	q.Boot, q.Asked = "another", q.Asked-2*requestLife
	must(t, writeJSON(name, q, 0o600))
	if over, err := b.client.Running(t.Context(), up); over != nil || err != nil {
		t.Errorf("running: %v", err)
	}
	must(t, b.in.Run(t.Context()))
	if calls := b.read("calls"); calls != "" {
		t.Errorf("a hook was called: %s", calls)
	}
}

func TestNobodyTakesARequest(t *testing.T) {
	b := newBench(t)
	b.client.asked, b.client.taken = nil, time.Millisecond
	up := b.release(1, "1.1.0", "the payload", 5)
	if _, err := b.client.Do(t.Context(), ota.HookInstall, up); !errors.Is(err, ota.ErrNoInstaller) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(b.path("agent/install")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestOnlyAHookBringsAReboot(t *testing.T) {
	b := newBench(t)
	reboots := 0
	b.in.reboot = func() error { reboots++; return nil }
	up := b.release(1, "1.1.0", "the payload", 5)
	if err := b.client.Reboot(t.Context(), up); err == nil || !strings.Contains(err.Error(), "the hook has not asked for a reboot") {
		t.Errorf("error %v", err)
	}
	b.write("code", []byte("10"))
	b.wants(ota.HookInstall, up, ota.HookOKReboot, "")
	if err := b.client.Reboot(t.Context(), up); err != nil || reboots != 1 {
		t.Errorf("%d reboots, %v", reboots, err)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(`{"api":1,"nonce":"00000000000000000000000000000000","verb":"install","module":"display","id":"1","to":"1.0","payload":"ota/payload"}`)
	f.Add(`{"api":1,"payload":"../../etc/shadow"}`)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := readRequest(strings.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrRequest) {
				t.Errorf("error %v", err)
			}
			return
		}
		if k := q.key(); k != filepath.Base(k) || k[0] == '.' || strings.ContainsAny(k, "\x00\n/") || len(k) > 200 {
			t.Errorf("key %q", k)
		}
		if q.Payload != "" && !filepath.IsLocal(q.Payload) {
			t.Errorf("payload %q", q.Payload)
		}
	})
}
