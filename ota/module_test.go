package ota

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestVersionFromFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "version")
	for _, test := range []struct{ contents, want, err string }{
		{"1.2.3\n", "1.2.3", ""},
		{"\n  v1.2-rc1 \r\nmore\n", "v1.2-rc1", ""},
		{"1.2", "1.2", ""},
		{"", "", "the first line is empty"},
		{" \n\n", "", "the first line is empty"},
		{"1/2", "", "slash"},
		{"1\x1b[2J", "", "control character"},
		{strings.Repeat("1", 1<<20), "", "at most 128"},
	} {
		if err := os.WriteFile(path, []byte(test.contents), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := VersionFromFile(path)(t.Context())
		if test.err == "" && (err != nil || string(got) != test.want) {
			t.Errorf("%.20q: got %q, %v, want %q", test.contents, got, err, test.want)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%.20q: got %v, want %q", test.contents, err, test.err)
		}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, dir} {
		if _, err := VersionFromFile(path)(t.Context()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if _, err := VersionFromFile(filepath.Join(dir, "none"))(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestVersionFromCommand(t *testing.T) {
	t.Setenv("SECRET", "1.2.3")
	sh := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	for _, test := range []struct {
		name      string
		argv      []string
		want, err string
	}{
		{"first line", sh("echo 1.2.3; echo more"), "1.2.3", ""},
		{"found in PATH", []string{"echo", "1.2 $SECRET"}, "1.2 $SECRET", ""}, // no shell in between
		{"clean environment", sh(`echo "v-$SECRET-$LANG-$HOME"`), "v--C-", ""},
		{"nothing to read", sh("cat; echo 2"), "2", ""},
		{"an error", sh("echo 1.0; echo no such board >&2; exit 3"), "", `exit status 3: "no such board"`},
		{"nothing said", sh(":"), "", "the first line is empty"},
		{"endless output", sh("yes 1.0 | head -c 10000000"), "1.0", ""},
		{"no such program", []string{"/no/such/program"}, "", "no such file"},
		{"no program", nil, "", "no command"},
		{"unsafe", sh("echo ../1.0"), "", "name refused"},
	} {
		got, err := VersionFromCommand(test.argv)(t.Context())
		if test.err == "" && (err != nil || string(got) != test.want) {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, test.want)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.err)
		}
	}
}

func TestVersionFromCommandEndsWhatItStarted(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if data, _ := os.ReadFile(pid); strings.HasSuffix(string(data), "\n") {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := VersionFromCommand([]string{"/bin/sh", "-c", `sleep 1000 & echo $! >` + pid + `; wait`})(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	// The child is gone, or a zombie that nobody has waited for yet.
	for {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(data)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestVersionsAreTold(t *testing.T) {
	say := func(v Version, err error) func(context.Context) (Version, error) {
		return func(context.Context) (Version, error) { return v, err }
	}
	m := &Manager{Log: slog.New(slog.DiscardHandler), Modules: []Module{
		{Key: "app", Installed: say("1.2", nil)},
		{Key: "os", Installed: say("", errors.New("no"))},
		{Key: "modem"},
	}}
	got := m.Versions(t.Context())
	if len(got) != 1 || got["app"] != "1.2" {
		t.Errorf("got %v", got)
	}
	list, _ := m.Status()
	if len(list) != 3 || list[2].Policy != Notify || list[0].Reason == "" {
		t.Errorf("before Run: %+v", list)
	}
}
