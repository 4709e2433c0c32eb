package install

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// hook writes a shell script that is run as a hook, and how it is called.
func hook(t *testing.T, body string) Call {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "hook")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return Call{Hook: name, Verb: ota.HookInstall, Txn: "00000007-42", UUID: "u", ID: "42", Module: "display", Version: "1.1.0", From: "1.0.0",
		File: "/nowhere", Size: 12, SHA256: "ab", NotesFile: "/notes", StateDir: dir, KeepDir: "/keep", Attempt: 2, Reason: "a\nb", Limit: time.Minute}
}

func runHook(t *testing.T, r Runner, c Call) Outcome {
	t.Helper()
	o, err := r.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// runLate runs a hook past its limit, which is long enough for the hook to make
// the file "up" before.
func runLate(t *testing.T, r Runner, body string) (o Outcome, limit time.Duration) {
	t.Helper()
	for limit = 300 * time.Millisecond; limit < time.Minute; limit *= 2 {
		c := hook(t, body)
		c.Limit = limit
		o = runHook(t, r, c)
		if exists(filepath.Join(c.StateDir, "up")) {
			return o, limit
		}
	}
	t.Fatalf("the hook is never up: %+v", o)
	return o, limit
}

func TestAHookGetsTheContractsEnvironmentAndNothingElse(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	t.Setenv("MQTT_USERNAME", "a secret")
	c := hook(t, `echo "$1 $(pwd)"; cat; env | sort | grep -v '^PWD=\|^OLDPWD=\|^_=\|^SHLVL='`)
	o := runHook(t, Runner{}, c)
	var names []string
	for _, line := range o.Log[1:] {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, strings.TrimPrefix(name, "SPOKE_OTA_"))
	}
	want := strings.Fields("LANG PATH API ATTEMPT BOOT_ID DEADLINE_BOOTTIME DRY_RUN FILE FROM_VERSION ID KEEP_DIR MODULE NOTES_FILE REASON SHA256 SIZE STATE_DIR TXN TXN_UUID VERSION")
	if !slices.Equal(names, want) {
		t.Errorf("environment is\n%v, want\n%v", names, want)
	}
	if want := "install " + c.StateDir; o.Log[0] != want {
		t.Errorf("the hook says %q, want %q", o.Log[0], want)
	}
	for _, want := range []string{"SPOKE_OTA_API=1", "SPOKE_OTA_REASON=a?b", "SPOKE_OTA_SIZE=12", "SPOKE_OTA_DRY_RUN=0", "SPOKE_OTA_ATTEMPT=2"} {
		if !slices.Contains(o.Log, want) {
			t.Errorf("%s is missing in %v", want, o.Log)
		}
	}
}

func TestAHooksOrdersAreUnderstood(t *testing.T) {
	var percents []int
	r := Runner{Progress: func(p int, phase string) {
		if percents = append(percents, p); phase != "writing it" {
			t.Errorf("phase %q", phase)
		}
	}}
	o := runHook(t, r, hook(t, `echo '@progress 7 writing it'; echo '@progress 100   writing it'; echo '@set slot=b=2'
		echo '@retry-after 60'; echo '@need-bytes 4096'; echo '@log all well'; echo '@progress 101'; echo '@nonsense'
		echo '@set reboot=no' >&2; printf 'no end'; exit 10`))
	if !slices.Equal(percents, []int{7, 100}) {
		t.Errorf("progress %v", percents)
	}
	if o.Code != ota.HookOKReboot || o.Settings["slot"] != "b=2" || len(o.Settings) != 1 || o.RetryAfter != time.Minute || o.NeedBytes != 4096 {
		t.Errorf("outcome %+v", o)
	}
	if len(o.Faults) != 2 || !slices.Contains(o.Log, "all well") || !slices.Contains(o.Log, "@set reboot=no") || !slices.Contains(o.Log, "no end") {
		t.Errorf("faults %q, log %q", o.Faults, o.Log)
	}
}

func TestAHooksOutputIsBounded(t *testing.T) {
	o := runHook(t, Runner{}, hook(t, `head -c 3000000 /dev/zero | tr '\0' x; echo; yes 'line after line' | head -n 50000`))
	kept := 0
	for _, line := range o.Log {
		kept += len(line) + 1
	}
	if kept > logBytes || len(o.Log[0]) > lineBytes || len(o.Log)+o.Dropped != 50001 {
		t.Errorf("%d lines of %d bytes kept, %d dropped", len(o.Log), kept, o.Dropped)
	}
}

func TestAHooksLinesAreLimited(t *testing.T) {
	r := newReport(nil, nil)
	now := time.Unix(1e9, 0)
	r.now = func() time.Time { return now }
	s := &stream{report: r}
	for range 3 {
		s.Write([]byte(strings.Repeat("line\n", 1000)))
		now = now.Add(time.Second)
	}
	if o := r.outcome(); len(o.Log) != burstLines+2*linesASec || o.Dropped != 3000-len(o.Log) {
		t.Errorf("%d lines kept, %d dropped", len(o.Log), o.Dropped)
	}
}

func TestAHookThatTakesTooLongIsStopped(t *testing.T) {
	o, limit := runLate(t, Runner{}, `trap 'echo asked; exit 0' TERM; touch up; sleep 60 & wait`)
	if o.Code != -1 || o.Cause != "not over after "+limit.String() || o.Text != "asked" || o.Meaning(ota.HookInstall) != ota.HookChanged {
		t.Errorf("outcome %+v", o)
	}
}

func TestAHookThatDoesNotListenIsKilledWithAllItStarted(t *testing.T) {
	o, limit := runLate(t, Runner{stop: 100 * time.Millisecond}, `trap '' TERM; sleep 61 & echo $!; touch up; wait; sleep 61`)
	if o.Code != -1 || o.Cause != "not over after "+limit.String() || len(o.Log) != 1 {
		t.Fatalf("outcome %+v", o)
	}
	for n := 0; ; n++ {
		stat, err := os.ReadFile("/proc/" + o.Log[0] + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z") {
			break
		}
		if n == 3000 {
			t.Fatalf("a child lives on: %s", stat)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestOnlyTimeEndsAHookPastItsPointOfNoReturn(t *testing.T) {
	c := hook(t, `trap 'echo asked' TERM; echo '@no-return'; echo '@progress 50 past it'; sleep 0.5; sleep 0.1; echo done`)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	// Lines are read in their order.
	o, err := Runner{Progress: func(int, string) { stop() }}.Run(ctx, c)
	if err != nil || o.Code != 0 || !slices.Equal(o.Log, []string{"done"}) {
		t.Errorf("outcome %+v, %v", o, err)
	}
	c = hook(t, `trap '' TERM; echo '@no-return'; sleep 60; echo done`)
	c.Limit = 300 * time.Millisecond
	if o := runHook(t, Runner{}, c); o.Code != -1 || len(o.Log) != 0 {
		t.Errorf("outcome %+v", o)
	}
}

func TestAStoppedHookAnswersStill(t *testing.T) {
	c := hook(t, `trap 'exit 40' TERM; touch up; sleep 60 & wait`)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopper := time.AfterFunc(300*time.Millisecond, stop)
	defer stopper.Stop()
	o, err := Runner{}.Run(ctx, c)
	if err != nil || o.Cause != "stopped on request" || o.Code != -1 {
		t.Errorf("outcome %+v, %v", o, err)
	}
}

func TestAHooksDeathIsNoExitStatus(t *testing.T) {
	o := runHook(t, Runner{}, hook(t, `kill -9 $$`))
	if o.Code != -1 || o.Cause != "killed by SIGKILL" {
		t.Errorf("outcome %+v", o)
	}
	c := hook(t, "")
	c.Hook = "/nonexistent"
	if _, err := (Runner{}).Run(t.Context(), c); err == nil {
		t.Error("a hook that is not there was run")
	}
}

func FuzzOutput(f *testing.F) {
	f.Add([]byte("@progress 5 x\n@set a=b\n@log hi\nplain"))
	f.Add([]byte("@retry-after -1\n@need-bytes 99999999999999999999\n@no-return\n\xff\x00\x1b[31m"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newReport(func(p int, _ string) {
			if p < 0 || p > 100 {
				t.Errorf("progress %d", p)
			}
		}, nil)
		s := &stream{report: r, orders: true}
		half := len(data) / 2
		s.Write(data[:half])
		s.Write(data[half:])
		s.flush()
		o := r.outcome()
		if len(o.Settings) > maxSettings || o.RetryAfter < 0 || o.NeedBytes < 0 {
			t.Errorf("outcome %+v", o)
		}
		for _, line := range o.Log {
			if line != plain(line, lineBytes+3) {
				t.Errorf("line %q", line)
			}
		}
	})
}
