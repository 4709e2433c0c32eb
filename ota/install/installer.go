package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

const (
	requestDir  = "install" // below the daemon's state directory
	maxRequests = 64        // taken at once
	watchEvery  = time.Second
)

// An Installer answers the daemon's requests, as root. Set its fields before
// Run.
type Installer struct {
	Agent      string // the daemon's state directory
	State      string // the installer's own
	Dir        string // for what need not survive a reboot
	MaxPayload int64  // bytes
	KeepDone   int    // answers
	// Rule returns what install.conf says of a module. Its error is that of the
	// whole file.
	Rule    func(module string) (Rule, error)
	Program string // this program, which is run again for each hook
	Log     *slog.Logger

	systemd bool
	boot    string
	self    string                            // the program that runs here; /proc/self/exe outside of tests
	trust   func(path string) (string, error) // Trust outside of tests
	reboot  func() error
	start   func(j job) (wait func() error, err error) // spawn outside of tests
}

// Run brings to an end what an earlier run has left, answers every request that
// is there, and returns. It is safe to be killed at any time.
func (i *Installer) Run(ctx context.Context) error {
	if err := i.init(); err != nil {
		return err
	}
	lock, err := i.alone(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := i.recover(ctx); err != nil {
		return err
	}
	for {
		taken, err := i.takeAll()
		if err != nil {
			return err
		}
		for _, q := range taken {
			if err := i.handle(ctx, q); err != nil {
				return err
			}
		}
		if len(taken) == 0 {
			return i.results().prune(i.KeepDone)
		}
	}
}

// Watch is Run again and again, whenever there is a request, until ctx is done:
// for devices without systemd.
func (i *Installer) Watch(ctx context.Context) error {
	for {
		if err := i.Run(ctx); err != nil && ctx.Err() == nil {
			i.Log.Error("requests not answered", "err", err, "retry_in", time.Minute)
			if pause(ctx, time.Minute) != nil {
				return nil
			}
		}
		for {
			if pause(ctx, watchEvery) != nil {
				return nil
			}
			if entries, err := os.ReadDir(filepath.Join(i.Agent, requestDir)); err == nil && len(entries) > 0 {
				break
			}
		}
	}
}

func (i *Installer) init() (err error) {
	if i.boot, err = bootID(); err != nil {
		return err
	}
	if i.trust == nil {
		i.trust, i.systemd = Trust, Systemd()
	}
	if i.self == "" {
		i.self = "/proc/self/exe"
	}
	if i.reboot == nil {
		i.reboot = func() error { return reboot(i.systemd) }
	}
	if i.start == nil {
		i.start = i.spawn
	}
	if _, err := os.Stat(i.State); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(disk.MkdirAll(i.State, 0o711), disk.SyncDir(filepath.Dir(i.State))); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		name string
		mode fs.FileMode
	}{{i.State, 0o711}, {i.path("txn"), 0o700}, {i.path("jobs"), 0o700}, {i.path("keep"), 0o700},
		{i.path("guard"), 0o700}, {i.path("unproven"), 0o700}, {i.path("results"), 0o750}, {i.Dir, 0o755}} {
		if err := disk.MkdirAll(d.name, d.mode); err != nil {
			return err
		}
		if err := os.Chmod(d.name, d.mode); err != nil { // whatever the umask
			return err
		}
	}
	if err := disk.SyncDir(i.State); err != nil {
		return err
	}
	// The daemon reads the results, whichever user it is.
	var st unix.Stat_t
	if err := unix.Stat(i.Agent, &st); err != nil {
		return &os.PathError{Op: "stat", Path: i.Agent, Err: err}
	}
	return os.Chown(i.path("results"), -1, int(st.Gid))
}

func (i *Installer) path(names ...string) string {
	return filepath.Join(append([]string{i.State}, names...)...)
}

func (i *Installer) results() results { return results(i.path("results")) }

// alone takes the installer's lock.
func (i *Installer) alone(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(i.path("lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = pause(ctx, 100*time.Millisecond)
		}
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", i.path("lock"), err)
		}
	}
}

// handle answers a request. Its errors are those of the installer's own disk.
func (i *Installer) handle(ctx context.Context, q Request) error {
	log := i.Log.With("module", q.Module, "version", q.To, "verb", q.Verb)
	if err := unproven(i.path("unproven")).heard(q, i.boot); err != nil {
		return err
	}
	a, err := i.do(ctx, q)
	if ctx.Err() != nil {
		return ctx.Err() // the next run settles it
	}
	if err == nil && a == nil {
		return nil // the hook's own process has answered
	}
	if err != nil {
		a = refused(q.Verb, err)
	}
	a.Nonce, a.ID, a.To = q.Nonce, q.ID, q.To
	log.Warn("not done", "kind", a.Kind, "code", int(a.Code), "err", a.Text)
	return i.results().put(q.key(), *a)
}

// refused is the answer for err. A fault of the device says nothing of the
// payload: whoever wanted it checked or installed tries again later, and all
// else is not known.
func refused(v ota.Verb, err error) *Answer {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return &Answer{Kind: Refused, Outcome: Outcome{Code: r.code, NeedBytes: r.need, Text: r.Error()}}
	case v == ota.HookCheck || v == ota.HookInstall:
		return &Answer{Kind: Refused, Outcome: Outcome{Code: ota.HookLater, RetryAfter: retryLater, Text: err.Error()}}
	}
	return &Answer{Kind: Lost, Outcome: Outcome{Code: -1, Text: err.Error()}}
}

// do runs the hook, unless something speaks against it. The answer is nil when
// the hook's process has given one.
func (i *Installer) do(ctx context.Context, q Request) (*Answer, error) {
	none := func(format string, args ...any) (*Answer, error) {
		return &Answer{Kind: None, Outcome: Outcome{Code: -1, Text: fmt.Sprintf(format, args...)}}, nil
	}
	rule, err := i.Rule(q.Module)
	if err != nil {
		return nil, err
	}
	hook, err := i.hook(q, rule)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none("module %s has no hook: %s is not there", q.Module, rule.HookPath(q.Module))
	case err != nil:
		return none("hook of module %s: %v", q.Module, err)
	case q.Verb == ota.HookRollback && rule.Rollback == "never":
		return nil, refuse(ota.HookReject, "install.conf says rollback = never for module %s", q.Module)
	}
	t, err := openTxn(i.path("txn", q.Module), q)
	if err != nil {
		return nil, err
	}
	p := i.policy(rule)
	if err := t.refused(q.Verb); err != nil {
		return nil, err
	}
	switch q.Verb {
	case verbReboot:
		return i.restart(t)
	case ota.HookCheck:
		if err := i.forget(q); err != nil {
			return nil, err
		}
		fallthrough
	case ota.HookInstall:
		if err := t.take(p, q); err != nil {
			return nil, err
		}
		if q.Verb == ota.HookInstall {
			if hook, err = i.ready(q, t, rule, hook); err != nil {
				return nil, err
			}
		}
	case ota.HookCommit:
		if t.Verified == nil {
			return nil, refuse(ota.HookChanged, "nothing was installed in this update")
		}
	}
	return nil, i.run(ctx, i.job(q, t, p, hook))
}

func (i *Installer) policy(r Rule) Policy {
	return Policy{Rule: r, Agent: i.Agent, State: i.State, MaxPayload: i.MaxPayload, trust: i.trust}
}

// forget drops the answers of an earlier update that had the same number: the
// daemon may have lost its state and count anew.
func (i *Installer) forget(q Request) error {
	names, err := i.results().names(answerSuffix)
	for _, name := range names {
		if strings.HasPrefix(name, q.update()) && name != q.key()+answerSuffix {
			err = errors.Join(err, remove(i.path("results", name)))
		}
	}
	return err
}

// restart reboots the device, if the hook of this update wants it.
func (i *Installer) restart(t *txn) (*Answer, error) {
	if !t.Reboot {
		return nil, refuse(ota.HookReject, "the hook has not asked for a reboot")
	}
	if err := i.reboot(); err != nil {
		return nil, err
	}
	return &Answer{Kind: Ran, Outcome: Outcome{Text: "reboot"}}, nil
}

func (i *Installer) job(q Request, t *txn, p Policy, hook string) job {
	c := Call{
		Hook: hook, Verb: q.Verb, Txn: fmt.Sprintf("%08d-%s", q.Seq, q.ID), UUID: q.uuid(), ID: q.ID, Module: q.Module, Version: q.To, From: q.From,
		File: t.file("payload"), NotesFile: t.file("notes"), StateDir: t.file("hook"), KeepDir: i.path("keep", q.Module),
		Attempt: q.Attempt, Reason: q.Reason, Limit: Limit(q.Verb, t.Info), Lib: i.lib(t, hook),
	}
	if t.Verified != nil {
		c.Size, c.SHA256 = t.Verified.Size, t.Verified.SHA256
	}
	return job{Key: q.key(), Nonce: q.Nonce, Call: c, Policy: p, State: i.State, Run: i.Dir, Until: q.Until}
}
