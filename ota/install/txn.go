package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/ota"
	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// A txn is the installer's own record of an update, in the module's directory.
type txn struct {
	Seq      uint32             `json:"seq"`
	ID       string             `json:"id"`
	To       string             `json:"to"`
	Verified *release.Statement `json:"verified,omitempty"` // of the copy of the payload
	Signed   bool               `json:"signed,omitempty"`
	Info     map[string]string  `json:"info,omitempty"`   // what the hook's info has said
	Reboot   bool               `json:"reboot,omitempty"` // the hook wants one
	Undone   string             `json:"undone,omitempty"` // why the guard has gone back
	Hook     *keptHook          `json:"hook,omitempty"`   // the copy that works on this update

	dir string
}

// openTxn returns the record of the update that q is about, after an older one
// of the module has been cleared away.
func openTxn(dir string, q Request) (*txn, error) {
	t, err := loadTxn(dir)
	if err == nil && t.of(q) {
		return t, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = nil // it cannot be read: what is there is of no use
	}
	if err := disk.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := disk.MkdirAll(t.file("hook"), 0o700); err != nil {
		return nil, err
	}
	t = &txn{Seq: q.Seq, ID: q.ID, To: q.To, dir: dir}
	if err := atomicfile.WriteFS(disk, t.file("notes"), []byte(q.Notes), 0o600); err != nil {
		return nil, err
	}
	if err := t.save(); err != nil {
		return nil, err
	}
	return t, disk.SyncDir(filepath.Dir(dir))
}

func loadTxn(dir string) (*txn, error) {
	t := &txn{dir: dir}
	return t, readJSON(t.file("txn.json"), t)
}

// of reports whether q is about this update.
func (t *txn) of(q Request) bool { return t.Seq == q.Seq && t.ID == q.ID && t.To == q.To }

func (t *txn) file(name string) string { return filepath.Join(t.dir, name) }

func (t *txn) save() error { return writeJSON(t.file("txn.json"), t, 0o600) }

// refused is the answer to a verb that would go on with an update from which the
// guard has gone back, nil if it has not.
func (t *txn) refused(v ota.Verb) error {
	switch {
	case t.Undone == "":
		return nil
	case v == ota.HookInstall || v == ota.HookCheck:
		return refuse(ota.HookReject, "%s", t.Undone)
	case v == ota.HookVerify || v == ota.HookCommit:
		return refuse(ota.HookChanged, "%s", t.Undone)
	}
	return nil
}

// A refusal is an answer that no hook was asked for.
type refusal struct {
	code ota.Code
	need int64 // bytes, with HookNoSpace
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(code ota.Code, format string, args ...any) error {
	return &refusal{code: code, err: fmt.Errorf(format, args...)}
}

// take brings the payload that q names into the installer's directory, unless
// it is there, and verifies this copy by policy p. An error that is a *refusal
// speaks of the payload, any other of the device.
func (t *txn) take(p Policy, q Request) error {
	line, keys, err := p.expect(q)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(t.file("payload"), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if t.Verified == nil || err != nil {
		f.Close() // of nothing, too
		f, err = t.copy(p, q, line)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	d := release.NewDigest()
	if _, err := io.Copy(d, f); err != nil {
		return err
	}
	if err := p.judge(q, line, keys, d); err != nil {
		t.Verified = nil
		return errors.Join(err, t.save(), remove(t.file("payload")))
	}
	s := release.Statement{SHA256: d.SHA256(), Size: d.Size(), Module: q.Module, Version: q.To}
	if line != nil {
		s.Counter = line.Counter
	}
	if err := t.publish(); err != nil {
		return err
	}
	t.Verified, t.Signed = &s, p.Rule.Require == "signature"
	return t.save()
}

// publish gives a copy its name, once it is proven. It is durable with the record
// that says so.
func (t *txn) publish() error {
	err := disk.Rename(t.file("payload.new"), t.file("payload"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has it already
	}
	return err
}

// copy returns the copy of the payload, open at its start.
func (t *txn) copy(p Policy, q Request, line *release.Line) (*os.File, error) {
	in, size, err := openPayload(p.Agent, q.Payload)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	switch {
	case size > p.MaxPayload:
		return nil, refuse(ota.HookReject, "the payload has %d bytes, more than limits.max_payload, %d", size, p.MaxPayload)
	case line != nil && line.Size != size:
		return nil, refuse(ota.HookReject, "%w: it has %d bytes, not %d", release.ErrPayload, size, line.Size)
	}
	for _, name := range []string{"payload", "payload.new"} {
		if err := remove(t.file(name)); err != nil {
			return nil, err
		}
	}
	if err := t.room(size); err != nil {
		return nil, err
	}
	out, err := disk.Create(t.file("payload.new"), 0o600)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(out, io.LimitReader(in, size+1))
	if err == nil && n != size {
		err = refuse(ota.HookReject, "the payload changed while it was copied: %d bytes of %d", n, size)
	}
	if err == nil {
		err = out.Sync()
	}
	err = errors.Join(err, out.Close())
	if err != nil {
		_ = disk.Remove(t.file("payload.new"))
		if slices.ContainsFunc([]error{unix.ENOSPC, unix.EDQUOT}, func(e error) bool { return errors.Is(err, e) }) {
			return nil, &refusal{ota.HookNoSpace, size + reserve, fmt.Errorf("copy the payload: %w", err)}
		}
		return nil, err
	}
	return os.OpenFile(t.file("payload.new"), os.O_RDONLY|unix.O_NOFOLLOW, 0)
}

// reserve is left free for everybody else.
const reserve = 16 << 20

func (t *txn) room(size int64) error {
	space, err := ota.Disk{}.Space(t.dir)
	if err == nil && space.Free < size+reserve {
		return &refusal{ota.HookNoSpace, size + reserve, fmt.Errorf("the installer's disk has %d bytes free and needs %d", space.Free, size+reserve)}
	}
	return err
}

// openPayload opens a regular file below the daemon's directory, through no link
// that leads out of it, and never waits for a device or a pipe.
func openPayload(agent, name string) (*os.File, int64, error) {
	root, err := os.OpenRoot(agent)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	seen, err := root.Lstat(name)
	if err != nil {
		return nil, 0, refuse(ota.HookReject, "the payload: %w", err)
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a Root follows links in spite of O_NOFOLLOW
	if err != nil {
		return nil, 0, refuse(ota.HookReject, "the payload: %w", err)
	}
	info, err := f.Stat()
	if err == nil && (!seen.Mode().IsRegular() || !os.SameFile(seen, info)) {
		err = refuse(ota.HookReject, "the payload %s is no regular file", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
