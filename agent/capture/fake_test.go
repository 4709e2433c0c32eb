package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// The test's own program is also the journalctl that it runs.
func TestMain(m *testing.M) {
	if path := os.Getenv("FAKE_JOURNAL"); path != "" {
		os.Exit(journalctl(path, os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

const boot = "0123456789abcdef0123456789abcdef"

// journalctl shows the entries in the file at path, a line TRANSPORT MESSAGE
// each, the n-th of which came n seconds after 2026.
func journalctl(path string, args []string, out, said io.Writer) int {
	data, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintln(said, "No journal files were found.")
		return 0
	}
	if text, ok := strings.CutPrefix(string(data), "FAIL "); ok {
		fmt.Fprint(said, text)
		return 1
	}
	after, since, transport := 0, int64(0), ""
	for _, a := range args {
		if c, ok := strings.CutPrefix(a, "--cursor=s="); ok {
			after, _ = strconv.Atoi(c)
			after-- // that entry, or what is in its place
		}
		if s, ok := strings.CutPrefix(a, "--since=@"); ok {
			s, _, _ = strings.Cut(s, ".")
			since, _ = strconv.ParseInt(s, 10, 64)
		}
		if t, ok := strings.CutPrefix(a, "_TRANSPORT="); ok {
			transport = t
		}
	}
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		n := i + 1
		from, message, ok := strings.Cut(line, " ")
		at := begin.Add(time.Duration(n) * time.Second)
		if !ok || n <= after || at.Unix() < since || transport != "" && transport != from {
			continue
		}
		fmt.Fprintf(out, "__CURSOR=s=%d\n__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n_HOSTNAME=gateway\nSYSLOG_IDENTIFIER=%s\n",
			n, at.UnixMicro(), n*1e6, boot, from)
		fmt.Fprint(out, "MESSAGE\n")
		_ = binary.Write(out, binary.LittleEndian, uint64(len(message)))
		fmt.Fprint(out, message+"\n\n")
	}
	return 0
}

var begin = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// A rig is a Recorder with a journal and a queue.
type rig struct {
	dir, journal, queue string
	entries             int
	now                 time.Time
	program             bool // journalctl is a program that is run
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	g := &rig{dir: dir, journal: filepath.Join(dir, "journal.txt"), queue: filepath.Join(dir, "queue"), now: begin}
	if err := os.Mkdir(g.queue, 0o700); err != nil {
		t.Fatal(err)
	}
	program := fmt.Sprintf("#!/bin/sh\nFAKE_JOURNAL='%s' exec '%s' \"$@\"\n", g.journal, os.Args[0])
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	return g
}

// An unsyncedFS loses nothing but in a power cut.
type unsyncedFS struct{ atomicfile.OS }

type unsynced struct{ atomicfile.File }

func (unsynced) Sync() error { return nil }

func (u unsyncedFS) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	f, err := u.OS.Create(name, perm)
	return unsynced{f}, err
}

func (unsyncedFS) SyncDir(string) error { return nil }

// recorder is one as after a start of the agent.
func (g *rig) recorder(fsys atomicfile.FS) *Recorder {
	r := &Recorder{
		Dir: filepath.Join(g.dir, "capture"), Types: Types, Every: time.Minute, MaxFile: 16 << 10, Daily: 1 << 20, History: time.Hour,
		Level:  func() (Level, <-chan struct{}) { return Level{On: true}, nil },
		Redact: func(s string) string { return s }, Now: func() time.Time { return g.now }, BootID: dashed(boot),
		Log: slog.New(slog.DiscardHandler), FS: fsys, journalctl: filepath.Join(g.dir, "journalctl"),
		OwnLog: NewOwnLog(func(w io.Writer, l slog.Leveler) slog.Handler {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: l, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})
		}),
	}
	if !g.program {
		r.run = func(_ context.Context, args []string, said io.Writer) (io.Reader, func() error, error) {
			var out bytes.Buffer
			status := journalctl(g.journal, args, &out, said)
			return &out, func() error {
				if status != 0 {
					return fmt.Errorf("exit status %d", status)
				}
				return nil
			}, nil
		}
	}
	if fsys == nil {
		r.FS = unsyncedFS{}
	}
	r.Hand = func(_ context.Context, _, name, path string) error {
		return r.FS.Rename(path, filepath.Join(g.queue, name))
	}
	return r
}

// write adds n entries to the journal.
func (g *rig) write(t *testing.T, n int) {
	t.Helper()
	f, err := os.OpenFile(g.journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range n {
		g.entries++
		from := "app"
		if g.entries%5 == 0 {
			from = "kernel"
		}
		fmt.Fprintf(f, "%s entry %d of the journal\n", from, g.entries)
	}
	g.now = begin.Add(time.Duration(g.entries+1) * time.Second)
}

// arrived are the lines of a type that are in the queue, in the order of their
// numbers; what names the boot is left out.
func (g *rig) arrived(t *testing.T, typ string) (lines []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(g.queue, typ+"-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(strings.TrimSuffix(name[strings.LastIndexByte(name, '-')+1:], ".log"))
		return n
	}
	slices.SortFunc(names, func(a, b string) int { return number(a) - number(b) })
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, "-- boot ") {
				lines = append(lines, strings.TrimSuffix(strings.TrimSpace(line), "\n"))
			}
		}
	}
	return lines
}

// whole complains unless exactly the journal is in the queue, in its order.
func (g *rig) whole(t *testing.T, when string) {
	t.Helper()
	got := g.arrived(t, Journal)
	for i := range max(len(got), g.entries) {
		want := fmt.Sprintf("entry %d of the journal", i+1)
		if i >= len(got) || i >= g.entries || !strings.HasSuffix(got[i], want) {
			t.Fatalf("%s: %d lines for %d entries; line %d is %q, want %q", when, len(got), g.entries, i+1, append(got, "")[min(i, len(got))], want)
		}
	}
	kernel := g.arrived(t, Kernel)
	for i := range max(len(kernel), g.entries/5) {
		want := fmt.Sprintf("] entry %d of the journal", 5*(i+1))
		if i >= len(kernel) || !strings.HasSuffix(kernel[i], want) {
			t.Fatalf("%s: dmesg: %d lines, line %d is no %q", when, len(kernel), i+1, want)
		}
	}
}
