package install

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// cutHook goes back, has to wait once, and keeps something when it commits.
const cutHook = `#!/bin/sh
top=%s
echo "$1 $SPOKE_OTA_ATTEMPT" >>$top/calls
same() { read -r a <$1 && read -r b <$2 && [ "$a" = "$b" ]; }
case $1 in
probe) if same "$SPOKE_OTA_FILE" $top/installed; then exit 20; else exit 22; fi ;;
install) [ ! -e $top/later ] || { rm $top/later; exit 12; }
	cp "$SPOKE_OTA_FILE" $top/installed ;;
verify) same "$SPOKE_OTA_FILE" $top/installed || exit 41 ;;
commit) echo kept >"$SPOKE_OTA_KEEP_DIR/kept" ;;
rollback) echo previous >$top/installed ;;
esac
exit 0
`

// TestThePowerFailsAtEachCall cuts the power at each call by which the installer
// and the process that runs the hook change the disk, from the check of an update
// to its end, and draws what is left of all that was not synced. It takes a third
// of the calls, or with POWER_CUTS=all in the environment each. Then either the
// daemon goes on, or it never comes back and the hook is broken by then.
func TestThePowerFailsAtEachCall(t *testing.T) {
	t.Cleanup(func() { disk, bootFile = system{}, "/proc/sys/kernel/random/boot_id" })
	seed, step := rand.Uint64(), 3
	switch {
	case os.Getenv("POWER_CUTS") == "all":
		step = 1
	case raceEnabled:
		step = 9 // there is nothing to race with
	}
	for n := 1 + int(seed%uint64(step)); ; n += step {
		for draw, lose := range []float64{1, 1, 0.5} {
			daemon := draw != 1
			if lose < 1 && n%5 > 0 {
				continue
			}
			c := newCut(t, fmt.Sprintf("seed %d, call %d, %v lost, the daemon comes back: %v", seed, n, lose, daemon))
			m := newMains(n)
			disk = m
			c.live()
			disk = quiet{}
			if !m.off {
				if n < 60 {
					t.Errorf("only %d calls", m.calls)
				}
				return
			}
			must(t, m.cut(rand.New(rand.NewPCG(seed, uint64(8*n+draw))), lose))
			c.write("boot", []byte("the next one\n"))
			c.goesOn(daemon)
			if t.Failed() {
				return
			}
			if c.count("install") == 0 {
				break // there is nothing to undo
			}
		}
	}
}

// A cut is an update whose power fails.
type cut struct {
	*bench
	what string
	up   ota.Txn
	told map[ota.Verb]ota.Code // what the daemon knows
}

func newCut(t *testing.T, what string) *cut {
	c := &cut{bench: newBench(t), what: what, told: map[ota.Verb]ota.Code{}}
	c.write("hook", fmt.Appendf(nil, cutHook, c.top))
	c.write("installed", []byte("previous\n"))
	c.write("later", nil)
	c.write("program", []byte("#!/bin/sh\n"))
	c.write("boot", []byte("the first one\n"))
	bootFile = c.path("boot")
	c.in.self = c.path("program")
	c.in.start = func(j job) (func() error, error) {
		return func() error { return RunJob(context.Background(), j.file(), slog.New(slog.DiscardHandler)) }, nil
	}
	c.client.asked = func() error { in := *c.in; return in.Run(context.Background()) }
	c.up = c.release(1, "1.1.0", "the payload\n", 5)
	return c
}

func (c *cut) fault(format string, args ...any) {
	c.Helper()
	c.Errorf("%s: %s\ncalls:\n%s", c.what, fmt.Sprintf(format, args...), c.read("calls"))
}

// live takes the update to its end, or to where the power fails.
func (c *cut) live() {
	for _, v := range []ota.Verb{ota.HookCheck, ota.HookInstall, ota.HookInstall, ota.HookVerify, ota.HookCommit, ota.HookCleanup} {
		r, err := c.client.Do(context.Background(), v, c.up)
		if err != nil {
			return
		}
		c.told[v] = r.Code
	}
}

func (c *cut) count(verb string) int { return strings.Count("\n"+c.read("calls"), "\n"+verb+" ") }

// want asks the installer, which must answer.
func (c *cut) want(v ota.Verb, code ota.Code) {
	c.Helper()
	if r, err := c.client.Do(context.Background(), v, c.up); err != nil || r.Code != code {
		c.fault("%s: %v %q, %v; want %v", v, r.Code, r.Text, err, code)
	}
}

// goesOn is what must hold after the boot.
func (c *cut) goesOn(daemon bool) {
	c.Helper()
	if err := (c.in).Run(context.Background()); err != nil {
		c.fault("the installer: %v", err)
		return
	}
	for _, dir := range []string{"state/jobs", "agent/install"} {
		if left, err := os.ReadDir(c.path(dir)); err != nil && !os.IsNotExist(err) || len(left) > 0 {
			c.fault("left in %s: %v, %v", dir, left, err)
		}
	}
	if marks, err := c.in.results().marks(); err != nil || len(marks) > 0 {
		c.fault("marks left: %v, %v", marks, err)
	}
	last, ok, err := c.client.Last(context.Background(), ota.HookInstall, c.up)
	switch told, asked := c.told[ota.HookInstall]; {
	case err != nil:
		c.fault("last: %v", err)
	case asked && told == ota.HookOK && (!ok || last.Code != ota.HookOK):
		c.fault("the daemon was told %v, and finds %v", told, last)
	case c.count("install") == 2 && ok && last.Code == ota.HookLater:
		c.fault("the second attempt has the answer of the first")
	}
	committed, began := c.count("commit") > 0, c.count("install") > 0
	if !daemon {
		c.write("hook", []byte("#!/bin/sh\nexit 1\n"))
		must(c.T, c.in.Guard(context.Background(), 0))
		now := c.read("installed")
		if began && !committed && now != "previous\n" || !began && now != "previous\n" || c.told[ota.HookCommit] == ota.HookOK && c.has(ota.HookCommit) && now == "previous\n" {
			c.fault("without the daemon: committed %v, installed %q", committed, now)
		}
		return
	}
	if !c.has(ota.HookCommit) {
		c.daemon()
	}
	if c.read("installed") != "the payload\n" || !exists(c.path("state/keep/display/kept")) {
		c.fault("installed %q, kept %v", c.read("installed"), exists(c.path("state/keep/display/kept")))
	}
	must(c.T, c.in.Guard(context.Background(), 0))
	if c.read("installed") != "the payload\n" {
		c.fault("the guard takes back what is permanent")
	}
	c.up = c.release(2, "1.0.9", "an old one\n", 4)
	c.want(ota.HookCheck, ota.HookDowngrade)
}

func (c *cut) has(v ota.Verb) bool { _, told := c.told[v]; return told }

// daemon does what the daemon does when it finds its record.
func (c *cut) daemon() {
	c.Helper()
	r, err := c.client.Do(context.Background(), ota.HookProbe, c.up)
	if err != nil {
		c.fault("probe: %v", err)
	}
	if r.Code != ota.HookActive {
		_ = os.Remove(c.path("later"))
		c.up.Attempt = 2
		c.want(ota.HookCheck, ota.HookOK)
		c.want(ota.HookInstall, ota.HookOK)
	}
	c.want(ota.HookVerify, ota.HookOK)
	c.want(ota.HookCommit, ota.HookOK)
}
