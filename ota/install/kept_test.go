package install

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// selfHook is what its own update replaces: with $top/next, or with nothing. It
// needs its lib.
const selfHook = `#!/bin/sh
. "$SPOKE_OTA_LIB" || exit 99
echo "$1 $SPOKE_OTA_ATTEMPT ${0#$top/} ${SPOKE_OTA_LIB#$top/}" >>$top/calls
case $1 in
probe) if cmp -s "$SPOKE_OTA_FILE" $top/installed; then exit 20; else exit 22; fi ;;
install) cp "$SPOKE_OTA_FILE" $top/installed
	rm -f $top/hooks/display $top/hooks/lib.sh
	[ ! -e $top/next ] || mv $top/next $top/hooks/display
	[ "$SPOKE_OTA_ATTEMPT" = 2 ] || exit $(cat $top/code 2>/dev/null || echo 0) ;;
rollback) echo previous >$top/installed ;;
esac
`

const keptDir = "state/txn/display/kept/"

func replaced(t *testing.T, next string) (*bench, ota.Txn) {
	t.Helper()
	b := newBench(t)
	b.write("hooks/display", []byte(selfHook))
	b.write("hooks/lib.sh", fmt.Appendf(nil, "top=%s\n", b.top))
	b.write("installed", []byte("previous\n"))
	b.write("program", []byte("#!/bin/sh\n"))
	if next != "" {
		b.write("next", []byte(next))
	}
	b.rule.Hook, b.in.self = b.path("hooks/display"), b.path("program")
	b.client.Hook = func(string) string { return b.rule.Hook }
	return b, b.release(1, "1.1.0", "the payload\n", 5)
}

func TestAnUpdateMayBreakItsOwnHook(t *testing.T) {
	for name, next := range map[string]string{"broken": "#!/bin/sh\nexit 1\n", "no program": "not one\n", "gone": ""} {
		b, up := replaced(t, next)
		b.wants(ota.HookInfo, up, ota.HookOK, "")
		b.wants(ota.HookCheck, up, ota.HookOK, "")
		b.wants(ota.HookInstall, up, ota.HookOK, "")
		b.wants(ota.HookProbe, up, ota.HookActive, "")
		if r, err := b.client.Do(t.Context(), ota.HookVerify, up); err == nil && r.Code != ota.HookChanged {
			t.Errorf("%s: what no other update can follow is verified: %v", name, r.Code)
		}
		b.wants(ota.HookRollback, up, ota.HookOK, "")
		b.wants(ota.HookProbe, up, ota.HookPrevious, "")
		b.wants(ota.HookCleanup, up, ota.HookOK, "")
		if got := b.read("installed"); got != "previous\n" {
			t.Errorf("%s: installed %q", name, got)
		}
		want := "info 1 hooks/display hooks/lib.sh\ncheck 1 hooks/display hooks/lib.sh\n"
		for _, verb := range []string{"install", "probe", "rollback", "probe", "cleanup"} {
			want += fmt.Sprintf("%s 1 %sdisplay %slib.sh\n", verb, keptDir, keptDir)
		}
		if got := b.read("calls"); got != want {
			t.Errorf("%s: calls\n%s", name, got)
		}
		if exists(b.path("state/txn/display")) {
			t.Errorf("%s: the copy outlives the update", name)
		}
	}
}

func TestTheGuardNeedsNoHookButTheCopy(t *testing.T) {
	b, up := replaced(t, "#!/bin/sh\nexit 1\n")
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	must(t, b.in.Guard(t.Context(), 0))
	if b.read("installed") != "previous\n" || b.noted() {
		t.Errorf("not undone: %s", b.read("calls"))
	}
}

func TestTheCopyRepairsWhatWasHalfInstalled(t *testing.T) {
	b, up := replaced(t, "")
	b.write("code", []byte("41"))
	b.wants(ota.HookInstall, up, ota.HookChanged, "")
	up.Attempt = 2
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	// A copy that has rotted is not run.
	b.write(keptDir+"display", []byte("#!/bin/sh\n"))
	if r, err := b.client.Do(t.Context(), ota.HookRollback, up); !errors.Is(err, ota.ErrNoInstaller) {
		t.Errorf("run all the same: %v, %v", r, err)
	}
}

func TestTheNextVersionOfAHookVerifiesIt(t *testing.T) {
	b, up := replaced(t, "#!/bin/sh\necho \"$0 $1\" >>"+"\"${0%/*}/../verified\"\n")
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	b.wants(ota.HookVerify, up, ota.HookOK, "")
	b.wants(ota.HookCommit, up, ota.HookOK, "")
	if got := b.read("verified"); got != b.path("hooks/display")+" verify\n" {
		t.Errorf("the installed hook was asked %q", got)
	}
}

func TestAHookThatIsTooLargeIsRunWhereItIs(t *testing.T) {
	b, up := replaced(t, "")
	must(t, os.Truncate(b.path("hooks/display"), maxHook+1))
	b.wants(ota.HookInstall, up, ota.HookOK, "")
	if exists(b.path(keptDir)) || !strings.Contains(b.read("calls"), "install 1 hooks/display hooks/lib.sh") {
		t.Errorf("calls: %s", b.read("calls"))
	}
}
