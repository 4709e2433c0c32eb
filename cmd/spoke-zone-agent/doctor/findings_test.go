package doctor

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// rare are the illnesses that the files of a test do not have by themselves.
var rare = []illness{
	{"settings that cannot be read", func(t *testing.T, w *ward) { w.ConfigPath, w.Dial = w.dir, hungUp }, "settings", Fail, "not a regular file", "check"},
	{"no settings", func(t *testing.T, w *ward) { w.ConfigPath, w.Dial = filepath.Join(w.dir, "none.conf"), hungUp }, "settings", OK, "the defaults are in force", ""},
	{"a clock that nothing has been compared with", func(t *testing.T, w *ward) { w.status.Clock.Source = "system" }, "clock", OK, "not compared", ""},
	{"no state directory, and no daemon", func(t *testing.T, w *ward) { w.running = local.ErrNotRunning; w.lose(t, "state") }, "state", OK, "the daemon makes it", ""},
	{"no state directory beside the daemon", func(t *testing.T, w *ward) { w.lose(t, "state") }, "state", Fail, "no such file", "cannot make it"},
	{"a state directory that nobody may look at", func(t *testing.T, w *ward) { w.find(0, "", fs.ErrPermission) }, "state", Warn, "permission", "as root"},
	{"a read-only disk", func(t *testing.T, w *ward) { w.try = taking(unix.EROFS) }, "state", Fail, "is read-only", "writable partition"},
	{"a full disk", func(t *testing.T, w *ward) { w.try = taking(unix.ENOSPC) }, "state", Fail, "is full", "make room"},
	{"a broken disk", func(t *testing.T, w *ward) { w.try = taking(unix.EIO) }, "state", Fail, "input/output error", "repair the file system"},
	{"a state in memory", func(t *testing.T, w *ward) { w.find(1<<30, "tmpfs", nil) }, "state", Warn, "is in memory", "on a disk"},
	{"a disk that is nearly full", func(t *testing.T, w *ward) { w.find(little-1, "ext4", nil) }, "state", Fail, "nearly full", "make room"},
	{"a disk with little room", func(t *testing.T, w *ward) { w.find(enough-1, "ext4", nil) }, "state", Warn, "little room", "make room for updates"},
	{"another server's certificate", func(t *testing.T, w *ward) {
		w.listen(t)
		w.settings = "[cloud]\nurl = https://other.example.org\n"
		w.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(w.addrs.API, "https://"))
		}
	}, "api", Fail, "for another name", "captive portal"},
	{"a server without TLS", func(t *testing.T, w *ward) { w.settings, w.Dial = "[cloud]\nurl = http://127.0.0.1:1\n", hungUp }, "api", OK, "without TLS", ""},
	{"a server that hangs up", func(t *testing.T, w *ward) { w.Dial = hungUp }, "broker", Fail, "no TLS with", "a proxy"},
	{"a token whose state is not known", func(t *testing.T, w *ward) { w.status.Token.State = "" }, "token", Warn, "not known yet", "in a moment"},
	{"no daemon, no token in the file", func(t *testing.T, w *ward) { w.running = local.ErrNotRunning; w.identity = "cpu_id = x\n" }, "token", Warn, "has none to look at", "start the daemon"},
	{"no daemon, a good token", func(t *testing.T, w *ward) { w.running = local.ErrNotRunning; w.now = w.cloud.Now }, "token", OK, "in the identity file (expires", ""},
	{"no daemon, a token for ever", func(t *testing.T, w *ward) {
		w.running = local.ErrNotRunning
		w.identity = "mqtt_username = e30.e30.c2ln\n"
	}, "token", OK, "without an expiry", ""},
	{"a kernel without Landlock", func(t *testing.T, w *ward) {
		w.status.Sandbox = local.Sandbox{Missing: "no Landlock in Linux 4.19"}
	}, "daemon", OK, "no Landlock in Linux 4.19", ""},
	{"a session nobody knows of", func(t *testing.T, w *ward) { w.running = local.ErrNotRunning }, "session", Warn, "known to the daemon alone", "start the daemon"},
	{"a session without a token", func(t *testing.T, w *ward) { w.status.MQTT.State, w.status.Token.State = "offline", "none" }, "session", Warn, "waits for a token", "token above"},
	{"a drop box that is a file", func(t *testing.T, w *ward) {
		w.lose(t, "spool")
		if err := os.WriteFile(filepath.Join(w.dir, "spool"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}, "spool", Fail, "is no directory", "out of the way"},
	{"a drop box nobody knows of", func(t *testing.T, w *ward) { w.running = local.ErrNotRunning }, "spool", OK, "known to the daemon alone", ""},
	{"a hook that is no program", func(t *testing.T, w *ward) {
		w.settings = "[module.display]\nversion_file = /etc/display-version\n"
		path := filepath.Join(w.root, "etc/spoke-zone-agent/hooks.d/display")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}, "installer", Fail, "is no program", "chmod 0755"},
	{"a check that does not end", func(t *testing.T, w *ward) {
		w.patience = time.Second
		w.try = func(string) error { <-t.Context().Done(); return nil }
	}, "state", Warn, "did not end within 1s", "do not answer"},
}

func (w *ward) lose(t *testing.T, dir string) {
	if err := os.Remove(filepath.Join(w.dir, dir)); err != nil {
		t.Fatal(err)
	}
}

func (w *ward) find(room int64, name string, err error) {
	w.disk = func(string) (int64, string, error) { return room, name, err }
}

// hungUp is a connection whose other end is closed.
func hungUp(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	return here, there.Close()
}

func taking(err error) func(string) error { return func(string) error { return err } }

// unsteady is what differs each time: times, ports, and words of Go's library.
var unsteady = []struct {
	form *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d UTC`), "TIME"},
	{regexp.MustCompile(`after [0-9.]+[µmn]?s\b`), "after A MOMENT"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`(trusted here|for another name|CA in [^:]*): .*`), "$1: ..."},
}

// What doctor finds and how it says that, of each illness: testdata/findings.txt,
// which UPDATE=1 writes.
func TestEachIllnessIsFoundAndCured(t *testing.T) {
	var b strings.Builder
	all := append([]illness{{"health", func(*testing.T, *ward) {}, "", OK, "", ""}}, slices.Concat(illnesses, rare, installers())...)
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			w := newWard(t)
			tt.harm(t, w)
			fmt.Fprintf(&b, "== %s\n", tt.name)
			found, hit := w.examined(t), false
			for _, f := range found {
				if f.Check != tt.check && tt.check != "" {
					continue
				}
				hit = hit || f.Verdict == tt.want && strings.Contains(f.Text, tt.text) && strings.Contains(f.Cure, tt.cure)
				said := fmt.Sprintf("%-4s  %s: %s\n", f.Verdict, f.Check, f.Text)
				if f.Cure != "" {
					said += "      cure: " + f.Cure + "\n"
				}
				said = strings.NewReplacer(w.dir, "/gateway", w.root, "").Replace(said)
				for _, u := range unsteady {
					said = u.form.ReplaceAllString(said, u.as)
				}
				b.WriteString(said)
			}
			if !hit {
				t.Errorf("got %+v\nwant %s: %q, %q", found, tt.want, tt.text, tt.cure)
			}
		})
	}
	const golden = "testdata/findings.txt"
	if os.Getenv("UPDATE") != "" {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, []byte(b.String()), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the findings are not those of %s: look at what UPDATE=1 changes in it", golden)
	}
}

// TestEveryFindingIsInThere: a call of ok, warn or fail whose words no illness
// brings about is one that nobody has read.
func TestEveryFindingIsInThere(t *testing.T) {
	b, err := os.ReadFile("testdata/findings.txt")
	if err != nil {
		t.Fatal(err)
	}
	golden, calls := string(b), 0
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is {
				return true
			}
			verdict, is := call.Fun.(*ast.Ident)
			if !is || !slices.Contains([]string{"ok", "warn", "fail"}, verdict.Name) {
				return true
			}
			calls++
			for _, word := range words(call) {
				if !strings.Contains(golden, word) && !unseen[word] {
					t.Errorf("%s: no illness shows %q", set.Position(call.Pos()), word)
				}
			}
			return false
		})
	}
	if calls < 60 {
		t.Errorf("%d findings in the code", calls)
	}
}

// words are those of the literals in n, without what stands for something.
func words(n ast.Node) (all []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if lit, is := n.(*ast.BasicLit); is && lit.Kind == token.STRING {
			text, _ := strconv.Unquote(lit.Value)
			for _, part := range regexp.MustCompile(`%[#.0-9]*[a-z%]`).Split(text, -1) {
				if len(part) > 8 {
					all = append(all, strings.TrimSpace(part))
				}
			}
		}
		return true
	})
	return all
}

// unseen are the words for what a test that runs as root, or in a directory of
// its own, cannot bring about.
var unseen = map[string]bool{
	"run doctor as root to have it looked at": true, "run doctor as root: the identity file cannot be read": true, "is for root alone": true,
	"chown root and chmod go-w: nothing is installed before": true, "chown root and chmod go-w": true,
	"the address": true, "cannot be used": true, // settings with such a fault are not used
}
