package install

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

const (
	takenWithin = 30 * time.Second // a request is taken
	lookEvery   = 200 * time.Millisecond
)

// A Client asks the installer on behalf of the daemon, through files. It is an
// ota.Installer.
type Client struct {
	Agent   string // the daemon's state directory
	Results string // directory of the installer's answers
	Dir     string // directory of its progress
	// Hook is where the hook of a module would be. Without one there is no need
	// to ask what it can do.
	Hook func(module string) string

	mu    sync.Mutex    // guards the temporary name
	taken time.Duration // takenWithin if 0
	asked func() error  // called once a request is there; nil outside of tests
}

var _ ota.Installer = (*Client)(nil)

// Do asks the installer to run a verb, and waits for its end.
func (c *Client) Do(ctx context.Context, verb ota.Verb, t ota.Txn) (ota.Result, error) {
	if err := c.hook(verb, t.Module); err != nil {
		return ota.Result{}, err
	}
	q, name, err := c.ask(verb, t)
	if err != nil {
		return ota.Result{}, fmt.Errorf("ask the installer: %w", err)
	}
	a, err := c.wait(ctx, q, name, t.Progress)
	if err != nil {
		return ota.Result{}, err
	}
	return a.result(verb)
}

// hook spares the installer a question before an update has begun. Later on the
// installer has a hook even if the update took away the one that was there.
func (c *Client) hook(verb ota.Verb, module string) error {
	if c.Hook == nil || verb != ota.HookInfo && verb != ota.HookCheck {
		return nil
	}
	if _, err := os.Stat(c.Hook(module)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: module %s has no hook: %s is not there", ota.ErrNoInstaller, module, c.Hook(module))
	}
	return nil
}

// Reboot asks the installer for a reboot.
func (c *Client) Reboot(ctx context.Context, t ota.Txn) error {
	r, err := c.Do(ctx, verbReboot, t)
	if err == nil && r.Code != ota.HookOK {
		err = fmt.Errorf("reboot: %s", r.Text)
	}
	return err
}

// Last returns how a verb of this update and attempt ended.
func (c *Client) Last(_ context.Context, verb ota.Verb, t ota.Txn) (ota.Result, bool, error) {
	q := request(verb, t)
	a, ok, err := results(c.Results).answer(q.key())
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!ok || a.ID != q.ID || a.To != q.To || a.Kind == Lost || a.Kind == None) {
		return ota.Result{}, false, nil
	}
	if err != nil {
		return ota.Result{}, false, err
	}
	r, err := a.result(verb)
	return r, err == nil, err
}

// Running tells of a verb that changes the module and has not ended.
func (c *Client) Running(ctx context.Context, t ota.Txn) (<-chan struct{}, error) {
	busy, err := c.busy(t.Module)
	if err != nil || !busy {
		return nil, err
	}
	// An installer that was killed leaves its mark: one that starts settles it.
	if _, _, err := c.ask(ota.HookInfo, t); err != nil {
		return nil, err
	}
	over := make(chan struct{})
	var look func()
	look = func() {
		if busy, err := c.busy(t.Module); err == nil && !busy || ctx.Err() != nil {
			close(over)
			return
		}
		time.AfterFunc(lookEvery, look)
	}
	time.AfterFunc(lookEvery, look)
	return over, nil
}

// busy reports whether a verb that changes the module is asked for or under
// way.
func (c *Client) busy(module string) (bool, error) {
	boot := ownBoot()
	// Requests first: one that is taken in between has a mark by then.
	entries, err := os.ReadDir(filepath.Join(c.Agent, requestDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for _, e := range entries {
		var q Request
		if err := readJSON(filepath.Join(c.Agent, requestDir, e.Name()), &q); err == nil &&
			q.Module == module && changes(q.Verb) && !q.stale(q.Boot, bootTime()) {
			return true, nil
		}
	}
	marks, err := results(c.Results).marks()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, m := range marks {
		if m.Module == module && changes(m.Verb) && (boot == "" || m.Boot == boot) {
			return true, err
		}
	}
	return false, err
}

// ownBoot is the identity of the boot, empty where a stricter sandbox than the
// shipped one hides it (systemd.exec(5), ProcSubset=pid). A mark of another boot then counts as
// one of this, until the installer that is asked has taken it away.
func ownBoot() string {
	id, _ := bootID()
	return id
}

func request(verb ota.Verb, t ota.Txn) Request {
	return Request{API: requestAPI, Verb: verb, Seq: t.Seq, Module: t.Module, ID: t.ID, From: string(t.From), To: string(t.To),
		Notes: t.Notes, Attempt: t.Attempt, Reason: t.Reason, Until: t.Deadline}
}

// ask leaves a request where the installer finds it.
func (c *Client) ask(verb ota.Verb, t ota.Txn) (q Request, name string, err error) {
	q = request(verb, t)
	q.Nonce, q.Asked, q.Boot = newNonce(), bootTime(), ownBoot()
	if t.Payload.Path != "" {
		if q.Payload, err = filepath.Rel(c.Agent, t.Payload.Path); err != nil {
			return q, "", err
		}
	}
	if err := q.check(); err != nil {
		return q, "", err
	}
	data, err := json.Marshal(q)
	if err != nil {
		return q, "", err
	}
	dir := filepath.Join(c.Agent, requestDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return q, "", err
	}
	name = filepath.Join(dir, q.Nonce+".json")
	if err := c.place(name, data); err != nil {
		return q, "", err
	}
	if c.asked != nil {
		err = c.asked()
	}
	return q, name, err
}

// place makes a request appear whole: what is in the watched directory starts
// the installer at once. It is not made durable, because after a boot nobody
// would take it.
func (c *Client) place(name string, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := filepath.Join(c.Agent, requestDir+".next")
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// wait returns the answer to q, or says that nobody takes the request.
func (c *Client) wait(ctx context.Context, q Request, name string, progress func(int, string)) (Answer, error) {
	patience := c.taken
	if patience == 0 {
		patience = takenWithin
	}
	asked, told, gone, every := time.Now(), "", 0, lookEvery/20
	for {
		a, ok, err := results(c.Results).answer(q.key())
		if ok && a.Nonce == q.Nonce {
			return a, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return Answer{}, fmt.Errorf("answer of the installer: %w", err)
		}
		if percent, phase, ok := readProgress(filepath.Join(c.Dir, q.key())); ok && progress != nil {
			if now := fmt.Sprint(percent, phase); now != told {
				told = now
				progress(percent, phase)
			}
		}
		if c.pending(q, name) {
			gone = 0
		} else if gone++; gone > 10 {
			return Answer{}, fmt.Errorf("%s: the installer has dropped the request: see journalctl -u spoke-zone-install", q.Verb)
		}
		if time.Since(asked) > patience {
			if err := c.withdraw(name); err != nil {
				return Answer{}, err
			}
		}
		if err := pause(ctx, every); err != nil {
			return Answer{}, err
		}
		every = min(2*every, lookEvery)
	}
}

// pending reports whether a request is there or being worked on.
func (c *Client) pending(q Request, name string) bool {
	if _, err := os.Lstat(name); err == nil {
		return true
	}
	var m mark
	err := readJSON(filepath.Join(c.Results, q.key()+markSuffix), &m)
	return err == nil && m.Nonce == q.Nonce
}

// withdraw takes back a request that nobody takes, unless the installer is busy
// with another one.
func (c *Client) withdraw(name string) error {
	marks, err := results(c.Results).marks()
	if len(marks) > 0 {
		return nil
	}
	if rerr := os.Remove(name); rerr != nil {
		return nil // it has been taken
	}
	return errors.Join(fmt.Errorf("%w: nobody has taken the request: is spoke-zone-install.path active?", ota.ErrNoInstaller), err)
}

// newNonce names a request.
func newNonce() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
