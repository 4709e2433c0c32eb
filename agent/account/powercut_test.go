package account

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
)

// A careless FS leaves steps out of a durable write.
type careless struct {
	*powercut.Disk
	omit string
}

func (c careless) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	f, err := c.Disk.Create(name, perm)
	if c.omit == "file sync" && err == nil {
		f = noSync{f}
	}
	return f, err
}

type noSync struct{ atomicfile.File }

func (noSync) Sync() error { return nil }

func (c careless) SyncDir(dir string) error {
	if c.omit == "directory sync" {
		return nil
	}
	return c.Disk.SyncDir(dir)
}

func (c careless) Link(oldname, newname string) error {
	if c.omit == "previous generation" {
		return nil
	}
	return c.Disk.Link(oldname, newname)
}

func (c careless) Rename(oldname, newname string) error {
	if c.omit == "previous generation" && strings.HasSuffix(newname, ".prev") {
		return nil
	}
	return c.Disk.Rename(oldname, newname)
}

// A rotation is a device that renews its token three times on a disk, and a
// server that drops a token once its successor was used: the harshest that a
// device can live with. A lenient one drops it once the next one is asked for.
type rotation struct {
	disk    *powercut.Disk
	lenient bool
	clock   *clock.Clock
	*Keeper
	n    int
	good []string // what the server takes
}

func newRotation(omit string, lenient bool) *rotation {
	r := &rotation{disk: powercut.New(), lenient: lenient}
	fsys := careless{r.disk, omit}
	r.clock = &clock.Clock{Path: "cred/time.floor", FS: fsys, Built: t0}
	r.clock.Load()
	r.Keeper = &Keeper{
		Store: &Store{Dir: "cred", FS: fsys}, Names: DefaultNames, Schedule: DefaultSchedule, Log: slog.New(slog.DiscardHandler),
		WriteBack: func(tok Token) error { return atomicfile.WriteFS(fsys, "etc/conf", []byte(tok.Raw()), 0o600) },
		NotBefore: r.clock.NotBefore,
	}
	return r
}

// issue has the server make a token, a week after the one before.
func (r *rotation) issue() Token {
	iat := t0.Add(time.Duration(r.n) * 7 * 24 * time.Hour)
	r.n++
	tok, _ := ParseToken(jwt(fmt.Sprintf(`{"deviceId":7,"iat":%d,"exp":%d}`, iat.Unix(), iat.Add(7*24*time.Hour).Unix()), r.n), DefaultNames)
	r.good = append(r.good[max(0, len(r.good)-1):], tok.Raw())
	return tok
}

// run is the device's life until the power fails.
func (r *rotation) run() {
	r.adopt(r.slots.use())
	for range 3 {
		old, fresh := r.slots.use(), r.issue()
		for _, step := range []func(){
			func() { r.renewed(old, fresh) },
			func() { r.clock.Learn(fresh.Issued, 0) },
			func() { // the session uses it
				if !r.lenient {
					r.good = []string{fresh.Raw()}
				}
			},
			func() { r.accepted(fresh) },
		} {
			if step(); r.disk.Off() {
				return
			}
		}
	}
}

// restart says what is wrong with what is found after a power cut, "" if
// nothing is.
func (r *rotation) restart(after *powercut.Disk) string {
	s, err := (&Store{Dir: "cred", FS: after}).load(DefaultNames)
	floor := &clock.Clock{Path: "cred/time.floor", FS: after, Built: t0}
	floor.Load()
	switch {
	case err != nil:
		return err.Error()
	case s.use().IsZero():
		return "no token"
	case !slices.Contains(r.good, s.use().Raw()) && !slices.Contains(r.good, s.Cur.Raw()):
		return "the server takes no token that is left"
	case floor.Now().Before(t0):
		return "the floor is lost"
	}
	return ""
}

// violations cuts the power at every call of a rotation, and counts what goes
// wrong. A medium that lies about a sync and a harsh server at once are more
// than a device can live with.
func violations(t *testing.T, omit string, lies bool) (calls, disks int, wrong []string) {
	for cut := 1; ; cut++ {
		r := newRotation(omit, lies)
		first := r.issue()
		r.slots = slots{Cur: first, Seen: first.digest()}
		r.keep()
		if err := r.disk.SyncDir("cred"); err != nil {
			t.Fatal(err)
		}
		r.disk.CutAt(r.disk.Calls() + cut)
		r.run()
		for after := range r.disk.After(lies) {
			disks++
			if what := r.restart(after); what != "" {
				wrong = append(wrong, fmt.Sprintf("cut at call %d: %s", cut, what))
			}
		}
		if !r.disk.Off() {
			return cut - 1, disks, wrong
		}
	}
}

func TestPowerCutAtEveryCallOfTheRotation(t *testing.T) {
	for _, lies := range []bool{false, true} {
		calls, disks, wrong := violations(t, "", lies)
		for _, w := range wrong[:min(5, len(wrong))] {
			t.Errorf("medium lies %v: %s", lies, w)
		}
		t.Logf("medium lies %v: %d calls, %d disks, %d wrong", lies, calls, disks, len(wrong))
	}
}

// TestEveryStepOfTheRotationIsNeeded takes one out and has the matrix notice.
func TestEveryStepOfTheRotationIsNeeded(t *testing.T) {
	for omit, lies := range map[string]bool{"file sync": false, "directory sync": false, "previous generation": true} {
		_, disks, wrong := violations(t, omit, lies)
		if len(wrong) == 0 {
			t.Errorf("without the %s nothing goes wrong on %d disks", omit, disks)
			continue
		}
		t.Logf("without the %s: %d of %d disks wrong, such as %s", omit, len(wrong), disks, wrong[0])
	}
}
