package install

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// A note says that a module's update may be installed and is not proven. It is
// there from before the hook's install until its commit, rollback or cleanup.
type note struct {
	Request Request       `json:"request"` // that of the last install, without its notes
	Rule    Rule          `json:"rule"`    // of install.conf at that time
	Boot    string        `json:"boot"`
	Since   time.Duration `json:"since"`           // CLOCK_BOOTTIME in Boot
	Quiet   time.Duration `json:"quiet"`           // without a request, until Since
	Tries   int           `json:"tries,omitempty"` // of the guard to go back, counted before each
	Undone  string        `json:"undone,omitempty"`
}

const maxTries = 3

// The guard waits longer while a daemon lives: one that proves an update says
// nothing for as long as ota.verify_deadline, which is at most a day.
const livingTime = 25 * time.Hour

// A sight is what the guard sees of the device.
type sight struct {
	boot  string
	now   time.Duration // CLOCK_BOOTTIME
	alive bool          // a daemon has the updates in its hand
	after time.Duration // of silence
}

// A verdict is what the guard does about a note.
type verdict uint8

const (
	leaveIt verdict = iota // its daemon may yet come
	undoIt                 // nobody else will
	giveUp                 // it was tried often enough
)

// judge brings the note up to the time of s and decides. Time that passed in
// an earlier boot counts as far as it was written down.
func (n note) judge(s sight) (note, verdict) {
	if n.Boot == s.boot {
		n.Quiet += max(0, s.now-n.Since)
	} else {
		n.Quiet += s.now
	}
	n.Boot, n.Since = s.boot, s.now
	limit := s.after
	if s.alive {
		limit += livingTime
	}
	switch {
	case n.Quiet < limit:
		return n, leaveIt
	case n.Tries >= maxTries:
		return n, giveUp
	}
	return n, undoIt
}

func (n note) of(q Request) bool {
	r := n.Request
	return r.Module == q.Module && r.Seq == q.Seq && r.ID == q.ID && r.To == q.To
}

// unproven is the directory with the notes, by module.
type unproven string

func (u unproven) file(module string) string { return filepath.Join(string(u), module+".json") }

func (u unproven) save(n note) error { return writeJSON(u.file(n.Request.Module), n, 0o600) }

// clear takes a note away for good: one that a power cut brought back would have
// the guard undo what is permanent.
func (u unproven) clear(module string) error {
	if err := remove(u.file(module)); err != nil {
		return err
	}
	return disk.SyncDir(string(u))
}

// all lists the notes. Whatever else is in the directory goes.
func (u unproven) all() (notes []note, err error) {
	entries, err := os.ReadDir(string(u))
	for _, e := range entries {
		var n note
		name := filepath.Join(string(u), e.Name())
		if readJSON(name, &n) == nil && name == u.file(n.Request.Module) {
			notes = append(notes, n)
		} else {
			err = errors.Join(err, os.RemoveAll(name))
		}
	}
	return notes, err
}

// heard notes that the daemon has asked something of a module: it lives. An
// update that another one has replaced cannot be undone any more.
func (u unproven) heard(q Request, boot string) error {
	var n note
	err := readJSON(u.file(q.Module), &n)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil || !n.of(q):
		return u.clear(q.Module)
	}
	n.Boot, n.Since, n.Quiet = boot, bootTime(), 0
	return u.save(n)
}

// ended takes the note away when the hook has told the end of the update. The
// daemon's time begins when the installation ends.
func (u unproven) ended(c Call, meaning ota.Code) error {
	switch c.Verb {
	case ota.HookInstall:
		var n note
		if err := readJSON(u.file(c.Module), &n); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		n.Since = bootTime()
		return u.save(n)
	case ota.HookCommit, ota.HookRollback, ota.HookCleanup:
		if meaning == ota.HookOK {
			return u.clear(c.Module)
		}
	}
	return nil
}

// entrust makes sure that an installation can be undone without the daemon and
// without the program that is installed now: a copy of this one is kept, and the
// update noted as unproven.
func (i *Installer) entrust(q Request, t *txn, rule Rule) error {
	if rule.Rollback == "never" || t.Info["rollback"] == "no" {
		return nil
	}
	if err := keepCopy(i.self, i.guardProgram()); err != nil {
		return err
	}
	q.Notes, q.Payload = "", ""
	return unproven(i.path("unproven")).save(note{Request: q, Rule: rule, Boot: i.boot, Since: bootTime()})
}

func (i *Installer) guardProgram() string { return i.path("guard", "spoke-zone-agent") }

// keepCopy makes name a durable copy of the program from, unless it is one.
func keepCopy(from, name string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if have, err := os.Open(name); err == nil {
		h := sha256.New()
		_, err = io.Copy(h, have)
		if have.Close(); err == nil && [sha256.Size]byte(h.Sum(nil)) == sha256.Sum256(data) {
			return nil
		}
	}
	return atomicfile.WriteFS(disk, name, data, 0o700)
}

// daemonLives reports whether somebody holds the lock that the daemon has on its
// updates as long as it lives.
func daemonLives(agent string) bool {
	root, err := os.OpenRoot(agent)
	if err != nil {
		return false
	}
	defer root.Close()
	f, err := root.OpenFile("ota/lock", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
