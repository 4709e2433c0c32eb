package install

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

func TestTheGuardWaitsForTheDaemon(t *testing.T) {
	const minute = time.Minute
	for _, c := range []struct {
		name  string
		n     note
		alive bool
		boot  string
		now   time.Duration
		want  verdict
		quiet time.Duration
	}{
		{"just installed", note{Boot: "a", Since: 60 * minute}, false, "a", 61 * minute, leaveIt, minute},
		{"one minute left", note{Boot: "a", Since: 60 * minute}, false, "a", 89 * minute, leaveIt, 29 * minute},
		{"too long", note{Boot: "a", Since: 60 * minute}, false, "a", 90 * minute, undoIt, 30 * minute},
		{"earlier boots count", note{Boot: "a", Since: 60 * minute, Quiet: 25 * minute}, false, "b", 5 * minute, undoIt, 30 * minute},
		{"a boot begins anew", note{Boot: "a", Since: 600 * minute, Quiet: 5 * minute}, false, "b", 20 * minute, leaveIt, 25 * minute},
		{"a clock that ran backwards", note{Boot: "a", Since: 60 * minute, Quiet: 5 * minute}, false, "a", minute, leaveIt, 5 * minute},
		{"a daemon that proves it", note{Boot: "a"}, true, "a", 24 * 60 * minute, leaveIt, 24 * 60 * minute},
		{"a daemon that has forgotten it", note{Boot: "a"}, true, "a", 26 * 60 * minute, undoIt, 26 * 60 * minute},
		{"tried twice", note{Boot: "a", Tries: 2}, false, "a", 60 * minute, undoIt, 60 * minute},
		{"tried three times", note{Boot: "a", Tries: 3}, false, "a", 60 * minute, giveUp, 60 * minute},
	} {
		n, got := c.n.judge(sight{boot: c.boot, now: c.now, alive: c.alive, after: 30 * minute})
		if got != c.want || n.Quiet != c.quiet || n.Boot != c.boot || n.Since != c.now {
			t.Errorf("%s: verdict %d, %+v", c.name, got, n)
		}
	}
}

// backHook can also go back, from $top/kept to $top/installed.
const backHook = `#!/bin/sh
top=%s
echo "$1 $SPOKE_OTA_ATTEMPT $SPOKE_OTA_REASON" >>$top/calls
case $1 in
probe) if cmp -s "$SPOKE_OTA_FILE" $top/installed; then exit 20; else exit 22; fi ;;
install) cp $top/installed $top/kept && cp "$SPOKE_OTA_FILE" $top/installed ;;
rollback) [ ! -e $top/stuck ] || exit 13
	cp $top/kept $top/installed; exit $(cat $top/back 2>/dev/null || echo 0) ;;
esac
`

func guarded(t *testing.T) (*bench, ota.Txn) {
	t.Helper()
	b := newBench(t)
	b.write("hook", fmt.Appendf(nil, backHook, b.top))
	b.write("installed", []byte("previous"))
	b.write("program", []byte("#!/bin/sh\n"))
	b.in.self = b.path("program")
	return b, b.release(1, "1.1.0", "the payload", 5)
}

func (b *bench) noted() bool { return exists(b.path("state/unproven/display.json")) }

func TestTheGuardUndoesWhatNobodyProves(t *testing.T) {
	b, up := guarded(t)
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	if !b.noted() || b.read("state/guard/spoke-zone-agent") != "#!/bin/sh\n" {
		t.Fatal("it is not noted, or the program not kept")
	}
	must(t, b.in.Guard(t.Context(), time.Hour))
	if b.read("installed") != "the payload" || !b.noted() {
		t.Fatal("it was undone too early")
	}
	must(t, b.in.Guard(t.Context(), 0))
	if b.read("installed") != "previous" || b.noted() {
		t.Fatalf("it was not undone: %s", b.read("calls"))
	}
	// What the daemon finds when it is back.
	if over, err := b.client.Running(t.Context(), up); over != nil || err != nil {
		t.Errorf("something runs: %v", err)
	}
	const why = "undone without the agent, which was not heard of for "
	if r, ok, err := b.client.Last(t.Context(), ota.HookInstall, up); !ok || err != nil || r.Code != ota.HookReject || !strings.HasPrefix(r.Text, why) {
		t.Errorf("last: %+v, %v, %v", r, ok, err)
	}
	b.wants(ota.HookProbe, up, ota.HookPrevious, "")
	b.wants(ota.HookVerify, up, ota.HookChanged, why)
	b.wants(ota.HookCommit, up, ota.HookChanged, why)
	up.Attempt = 2
	b.wants(ota.HookInstall, up, ota.HookReject, why)
	b.wants(ota.HookCleanup, up, ota.HookOK, "")
	b.wants(ota.HookInstall, b.release(2, "1.1.0", "the payload", 5), ota.HookOK, "") // by a person's word
}

func TestTheGuardLeavesAloneWhatHasEnded(t *testing.T) {
	for _, end := range []ota.Verb{ota.HookCommit, ota.HookRollback, ota.HookCleanup} {
		b, up := guarded(t)
		b.wants(ota.HookInstall, up, ota.HookOK, "")
		b.wants(end, up, ota.HookOK, "")
		before := b.read("calls")
		must(t, b.in.Guard(t.Context(), 0))
		if b.noted() || b.read("calls") != before {
			t.Errorf("after %s the guard asks: %s", end, b.read("calls"))
		}
	}
	// The daemon is asking about another update of the module.
	b, up := guarded(t)
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	b.wants(ota.HookProbe, b.release(2, "1.2.0", "another", 6), ota.HookPrevious, "")
	if b.noted() {
		t.Error("the note outlives its update")
	}
	// install.conf forbids it, then and now.
	b, up = guarded(t)
	b.rule.Rollback = "never"
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	if b.noted() {
		t.Error("noted, against install.conf")
	}
	b.rule.Rollback = "auto"
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	b.rule.Rollback = "never"
	must(t, b.in.Guard(t.Context(), 0))
	if b.noted() || b.read("installed") != "the payload" {
		t.Error("undone, against install.conf")
	}
	// Nothing was changed, or a person has gone back.
	b, up = guarded(t)
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	b.write("installed", []byte("previous"))
	must(t, b.in.Guard(t.Context(), 0))
	if calls := b.read("calls"); b.noted() || strings.Contains(calls, "rollback") {
		t.Errorf("calls: %s", calls)
	}
}

func TestTheGuardTriesThreeTimes(t *testing.T) {
	b, up := guarded(t)
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	b.write("stuck", nil)
	b.ruleIs = errors.New("install.conf:3: has a fault") // that of the installation holds
	for range 5 {
		must(t, b.in.Guard(t.Context(), 0))
	}
	if n := strings.Count(b.read("calls"), "rollback "); n != maxTries || !b.noted() {
		t.Errorf("%d attempts: %s", n, b.read("calls"))
	}
	b.ruleIs = nil
	must(t, os.Remove(b.path("stuck")))
	b.wants(ota.HookRollback, up, ota.HookOK, "") // the daemon may
	if b.noted() {
		t.Error("the note stays")
	}
}

func TestTheGuardAsksForAReboot(t *testing.T) {
	b, up := guarded(t)
	reboots := 0
	b.in.reboot = func() error { reboots++; return nil }
	b.write("back", []byte("10"))
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	must(t, b.in.Guard(t.Context(), 0))
	if reboots != 1 || !b.noted() {
		t.Fatalf("%d reboots", reboots)
	}
	must(t, b.in.Guard(t.Context(), 0)) // after it
	if b.noted() || reboots != 1 {
		t.Errorf("%d reboots, noted %v", reboots, b.noted())
	}
}

func TestALivingDaemonHoldsTheGuardBack(t *testing.T) {
	b, up := guarded(t)
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	lock, err := os.Create(b.path("agent/ota/lock"))
	must(t, err)
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	must(t, b.in.Guard(t.Context(), 0))
	if b.read("installed") != "the payload" {
		t.Error("undone while the daemon proves it")
	}
	must(t, lock.Close())
	must(t, b.in.Guard(t.Context(), 0))
	if b.read("installed") != "previous" {
		t.Error("not undone once the daemon is gone")
	}
}
