package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/ota"
	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// Where hooks are looked for.
const (
	ShippedHooks = "/usr/lib/spoke-zone-agent/hooks"
	OwnHooks     = "/etc/spoke-zone-agent/hooks.d"
)

// A Rule is what install.conf says of a module.
type Rule struct {
	Hook     string // a shipped hook's name or an absolute path; empty: the module's file in OwnHooks
	Require  string // signature, digest or none
	Keys     string // a pattern of files
	Rollback string // auto or never
}

// A Policy is what holds for one request.
type Policy struct {
	Rule
	Agent      string // the daemon's state directory
	State      string // the installer's
	MaxPayload int64
	trust      func(path string) (string, error) // Trust outside of tests
}

// HookPath is where the hook of a module is.
func (r Rule) HookPath(module string) string {
	switch {
	case r.Hook == "":
		return filepath.Join(OwnHooks, module)
	case filepath.IsAbs(r.Hook):
		return r.Hook
	}
	return filepath.Join(ShippedHooks, r.Hook)
}

// LoadKeys reads the public keys that pattern names, which trust must accept.
func LoadKeys(pattern string, trust func(string) (string, error)) ([]release.PublicKey, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	var keys []release.PublicKey
	for _, name := range names {
		path, err := trust(name)
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		k, err := release.ParsePublicKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s names no public key", pattern)
	}
	return keys, nil
}

// expect reads what the notes promise of the payload, as far as it is required,
// and looks at all that can be told without it. There may be no line.
func (p Policy) expect(q Request) (*release.Line, []release.PublicKey, error) {
	line, keys, err := p.proof(q.Notes, q.Module, q.To, p.trust)
	if err == nil && keys != nil {
		err = p.fresh(*line)
	}
	return line, keys, err
}

// Foresee tells whether the installer would refuse a release by its notes, for
// one who would not fetch it in vain. What it cannot tell it does not refuse:
// the installer judges for itself.
func (r Rule) Foresee(f ota.File) error {
	_, _, err := r.proof(f.Notes, f.Module, string(f.Version), func(path string) (string, error) { return path, nil })
	var no *refusal
	if errors.As(err, &no) {
		return no
	}
	return nil
}

// proof is what the notes of a release hold for r; keys only if r requires a
// signature, which is one of theirs.
func (r Rule) proof(notes, module, version string, trust func(string) (string, error)) (*release.Line, []release.PublicKey, error) {
	line, err := release.Find(notes, module, version)
	if r.Require == "none" && (errors.Is(err, release.ErrNoLine) || errors.Is(err, release.ErrOther)) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, refuse(ota.HookReject, "%w", err)
	}
	if r.Require != "signature" {
		return &line, nil, nil
	}
	if line.Sig == nil {
		return nil, nil, refuse(ota.HookReject, "the release is %w, and install.conf requires it", release.ErrUnsigned)
	}
	keys, err := LoadKeys(r.Keys, trust)
	if err != nil {
		return nil, nil, fmt.Errorf("keys of install.conf: %w", err)
	}
	if err := line.Verify(keys); err != nil {
		return nil, nil, refuse(ota.HookReject, "%w", err)
	}
	return &line, keys, nil
}

// judge compares a copy with what was promised.
func (p Policy) judge(q Request, line *release.Line, keys []release.PublicKey, d *release.Digest) error {
	var err error
	switch {
	case line == nil:
	case keys == nil:
		err = line.Matches(d)
	default:
		err = line.VerifyPayload(keys, d)
	}
	if err != nil {
		return refuse(ota.HookReject, "%w", err)
	}
	return nil
}

// A newest is the highest that a module has made permanent of signed releases.
type newest struct {
	Counter int64       `json:"counter"`
	Version ota.Version `json:"version"`
}

func (p Policy) newestFile() string { return filepath.Join(p.State, "newest.json") }

func (p Policy) newest() (map[string]newest, error) {
	all := map[string]newest{}
	_, err := atomicfile.LoadRecord(disk, p.newestFile(), &all)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("newest releases that were installed: %w (remove %s to begin anew)", err, p.newestFile())
	}
	return all, nil
}

// fresh refuses a signed release that is older than one which was made
// permanent.
func (p Policy) fresh(line release.Line) error {
	all, err := p.newest()
	if err != nil {
		return err
	}
	last := all[line.Module]
	switch {
	case line.Counter > 0 && line.Counter < last.Counter:
		return refuse(ota.HookDowngrade, "an old release: its counter is %d, and %d was installed", line.Counter, last.Counter)
	case line.Counter == 0 && last.Counter > 0:
		return refuse(ota.HookDowngrade, "an old release: it has no counter, and one with %d was installed", last.Counter)
	case line.Counter == 0 && ota.Version(line.Version).Compare(last.Version) < 0:
		return refuse(ota.HookDowngrade, "an old release: its version is %s, and %s was installed", line.Version, last.Version)
	}
	return nil
}

// raise remembers a signed release that was made permanent.
func (p Policy) raise(s release.Statement) error {
	all, err := p.newest()
	if err != nil {
		return err
	}
	last := all[s.Module]
	last.Counter = max(last.Counter, s.Counter)
	if v := ota.Version(s.Version); v.Compare(last.Version) > 0 || s.Counter > 0 {
		last.Version = v
	}
	if last == all[s.Module] {
		return nil
	}
	all[s.Module] = last
	return atomicfile.SaveRecord(disk, p.newestFile(), all)
}

// retryLater is when to ask again after a fault of the device, which a person
// mends.
const retryLater = 15 * time.Minute
