package install

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// An update may replace its own hook, and break it. The way back must not depend
// on that: a copy of the hook is kept with the update from before its install,
// and works on it to its end.

// hookLib is what a hook may find beside it, for what it shares with others.
const hookLib = "lib.sh"

// keptHook is the copy of a hook that an update keeps.
type keptHook struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Lib    string `json:"lib,omitempty"` // SHA-256 of lib.sh
}

// hook is the program for a request. From install on it is the copy that was
// kept, with the exception of verify: a version whose own hook does not work
// could not be followed by another, and must not stay.
func (i *Installer) hook(q Request, rule Rule) (string, error) {
	switch q.Verb {
	case ota.HookInfo, ota.HookCheck, ota.HookVerify:
	default:
		if t, err := loadTxn(i.path("txn", q.Module)); err == nil && t.of(q) {
			if name := t.kept(); name != "" {
				return name, nil
			}
		}
	}
	return i.trust(rule.HookPath(q.Module))
}

// LibBeside is the lib.sh that stands beside a hook, if trust accepts it, else
// empty.
func LibBeside(hook string, trust func(string) (string, error)) string {
	lib, err := trust(filepath.Join(filepath.Dir(hook), hookLib))
	if err != nil {
		return ""
	}
	return lib
}

// ready makes all ready for the hook's install, and returns the copy of the hook
// that is to do it, or the hook where none is kept.
func (i *Installer) ready(q Request, t *txn, rule Rule, hook string) (string, error) {
	err := mayKeep(hook, t.dir)
	if errors.Is(err, errNotKept) {
		i.Log.Warn("update begins", "module", q.Module, "err", err)
		return hook, i.entrust(q, t, rule)
	}
	if err == nil {
		err = t.keep(hook, LibBeside(hook, i.trust))
	}
	if err != nil {
		return "", err
	}
	name := t.kept()
	if name == "" {
		return "", fmt.Errorf("the copy of %s is not what was copied", hook)
	}
	return name, i.entrust(q, t, rule)
}

// lib is the lib.sh for a hook: that of the copy, whatever is installed by now.
func (i *Installer) lib(t *txn, hook string) string {
	if k := t.Hook; k != nil && hook == t.keptFile(k.Name) {
		if k.Lib == "" {
			return ""
		}
		return t.keptFile(hookLib)
	}
	return LibBeside(hook, i.trust)
}

func (t *txn) keptFile(name string) string { return t.file(filepath.Join("kept", name)) }

// keep makes a durable copy of the hook and of its lib, unless there is one.
func (t *txn) keep(hook, lib string) error {
	if t.kept() != "" {
		return nil
	}
	if err := disk.MkdirAll(t.file("kept"), 0o700); err != nil {
		return err
	}
	k := keptHook{Name: filepath.Base(hook)}
	var err error
	if k.SHA256, err = copyFile(hook, t.keptFile(k.Name), 0o700); err == nil && lib != "" {
		k.Lib, err = copyFile(lib, t.keptFile(hookLib), 0o600)
	}
	if err != nil {
		return err
	}
	t.Hook = &k
	return t.save()
}

// kept is the copy of the hook, empty if there is none that is whole.
func (t *txn) kept() string {
	k := t.Hook
	if k == nil || digestOf(t.keptFile(k.Name)) != k.SHA256 || k.Lib != "" && digestOf(t.keptFile(hookLib)) != k.Lib {
		return ""
	}
	return t.keptFile(k.Name)
}

// copyFile makes name a durable copy of from, and returns its SHA-256.
func copyFile(from, name string, perm fs.FileMode) (sum string, err error) {
	data, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	d := sha256.Sum256(data)
	return hex.EncodeToString(d[:]), atomicfile.WriteFS(disk, name, data, perm)
}

// digestOf is the SHA-256 of a file, empty if it cannot be read.
func digestOf(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// maxHook is the size of the largest hook that is kept.
const maxHook = 32 << 20

// errNotKept means that a hook is run from where it is.
var errNotKept = errors.New("no copy of the hook is kept")

// mayKeep reports whether a copy of the hook in dir is of use.
func mayKeep(hook, dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if int64(st.Flags)&unix.ST_NOEXEC != 0 {
		return fmt.Errorf("%w, and no guard can undo the update: %s is mounted noexec", errNotKept, dir)
	}
	info, err := os.Stat(hook)
	if err == nil && info.Size() > maxHook {
		err = fmt.Errorf("%w: %s has %d bytes, more than %d", errNotKept, hook, info.Size(), maxHook)
	}
	return err
}
