// Package hooktest takes a hook through the contract that the installer keeps
// with it, and tells what it does otherwise.
package hooktest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/ota"
	"github.com/spoke-zone/spoke-zone-agent/ota/install"
)

// A Test is what a hook is tried with. Only Hook is needed; without File the
// verbs that need a payload are left out.
type Test struct {
	Hook    string // its path
	File    string // a payload that the hook should take
	Module  string
	Version string // of File
	From    string // that is installed now
	Keep    string // the directory that outlives updates; a temporary one if empty
	Echo    func(line string)
}

// A Row is one call of the hook, and the verdict on it.
type Row struct {
	Verb  string
	What  string // what was tried
	Exit  string
	Took  time.Duration
	Fault string // what is against the contract; empty if nothing
}

// Run tries the hook and calls row after each call. It returns the number of
// faults; its errors are its own, such as a file that is not there.
func (t Test) Run(ctx context.Context, row func(Row)) (faults int, err error) {
	r := &run{Test: t, ctx: ctx, row: row}
	if r.dir, err = os.MkdirTemp("", "hook-test-*"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(r.dir)
	if err := r.prepare(); err != nil {
		return 0, err
	}
	for _, s := range steps {
		if s.file && t.File == "" || s.steady && r.reboot || s.back && !r.goesBack {
			continue
		}
		if err := r.step(s); err != nil {
			return r.faults, err
		}
	}
	return r.faults, nil
}

// A run is a Test under way.
type run struct {
	Test
	ctx      context.Context
	row      func(Row)
	dir      string
	call     install.Call
	attempts map[ota.Verb]int
	info     map[string]string
	reboot   bool // the payload is only there after one
	goesBack bool
	faults   int
}

func (r *run) prepare() (err error) {
	if r.Hook, err = filepath.Abs(r.Hook); err != nil {
		return err
	}
	r.attempts = map[ota.Verb]int{}
	r.call = install.Call{
		Hook: r.Hook, Txn: "00000001-hook-test", UUID: "5b0ce0de-0000-4000-8000-000000000001", ID: "1",
		Module: r.Module, Version: r.Version, From: r.From, Reason: "hook-test",
		Lib:       install.LibBeside(r.Hook, present),
		NotesFile: filepath.Join(r.dir, "notes"), StateDir: filepath.Join(r.dir, "hook"), KeepDir: r.Keep,
	}
	if r.Keep == "" {
		r.call.KeepDir = filepath.Join(r.dir, "keep")
	}
	for _, d := range []string{r.call.StateDir, r.call.KeepDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(r.call.NotesFile, []byte("A trial of the hook.\n"), 0o600); err != nil || r.File == "" {
		return err
	}
	return r.use(r.File, false)
}

// present trusts every file that is there.
func present(path string) (string, error) {
	_, err := os.Stat(path)
	return path, err
}

// use has the hook called with a copy of file, or with the first half of it
// under the name and the digest of the whole.
func (r *run) use(file string, half bool) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if half {
		size /= 2
	}
	name := filepath.Join(r.dir, "payload")
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.Copy(out, io.LimitReader(io.TeeReader(in, h), size))
	if err == nil {
		_, err = io.Copy(h, in)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	r.call.File, r.call.Size, r.call.SHA256 = name, info.Size(), hex.EncodeToString(h.Sum(nil))
	return err
}

func (r *run) step(s step) error {
	if s.half {
		if err := r.use(r.File, true); err != nil {
			return err
		}
		defer func() { _ = r.use(r.File, false) }()
	}
	c := r.call
	c.Verb, c.DryRun, c.Limit = s.verb, s.dry, install.Limit(s.verb, r.info)
	if r.attempts[s.verb]++; !s.again {
		c.Attempt = r.attempts[s.verb]
	}
	c.Attempt = max(1, c.Attempt)
	start := time.Now()
	o, err := install.Runner{Echo: r.Echo}.Run(r.ctx, c)
	if err != nil {
		return err
	}
	row := Row{Verb: string(s.verb), What: s.what, Exit: o.Cause, Took: time.Since(start), Fault: s.judge(o)}
	if o.Cause == "" {
		row.Exit = strconv.Itoa(int(o.Code)) + " " + o.Code.String()
	}
	if s.verb == ota.HookInfo && row.Fault == "" {
		row.Fault = r.learn(o.Settings)
	}
	if s.verb == ota.HookInstall && o.Code == ota.HookOKReboot {
		r.reboot = true
	}
	if row.Fault == "" && len(o.Faults) > 0 {
		row.Fault = "its output: " + o.Faults[0]
	}
	if row.Fault != "" {
		r.faults++
	}
	r.row(row)
	return r.ctx.Err()
}

// learn keeps what info said, and compares it with what it said before.
func (r *run) learn(said map[string]string) (fault string) {
	again := r.info != nil
	for key, value := range r.info {
		if said[key] != value {
			return fmt.Sprintf("%s was %q before and is %q now", key, value, said[key])
		}
	}
	if r.info = said; again {
		return ""
	}
	r.goesBack = said["rollback"] != "no"
	return judgeInfo(said)
}
