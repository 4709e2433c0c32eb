package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// writable are the directories that the agent and the programs that it starts
// write in, under these settings.
func writable(c conf.Config) []string {
	dirs := []string{"/tmp", "/var/tmp", os.TempDir(), c.Paths.State, c.Paths.Run, c.Paths.Spool, filepath.Dir(c.Paths.Identity), home(c.Paths.Identity)}
	if c.Bridge.File != "" {
		dirs = append(dirs, filepath.Dir(c.Bridge.File))
	}
	accounts, _ := conf.LoadAccounts(c.Paths.Accounts) // their faults are told where they are used
	for _, a := range accounts {
		for _, d := range a.Deliver {
			if d.File != "" {
				dirs = append(dirs, filepath.Dir(d.File))
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// home is the directory of what path leads to. A gateway that is provisioned
// later has a link to a file that is not there yet.
func home(path string) string {
	for range 40 { // as many links as the kernel follows
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			path = filepath.Join(dir, filepath.Base(path))
		}
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return filepath.Dir(path)
}

// confine gives up the right to write elsewhere. Where the kernel cannot do
// that, the agent goes on without.
func (r *runner) confine() {
	if r.Confine == nil {
		r.sandbox.Missing = "not asked for"
		return
	}
	c, _, _ := r.settings.Get()
	// What is missing now could not be made afterwards. Who needs it says what is wrong with it.
	_ = os.MkdirAll(c.Paths.State, 0o700)
	_ = os.MkdirAll(c.Paths.Run, 0o755)
	_ = os.MkdirAll(c.Paths.Spool, 0o755)
	dirs := writable(c.Config)
	abi, err := r.Confine(dirs...)
	if err != nil {
		r.sandbox.Missing = err.Error()
		r.Log.Info("not confined: the sandbox of the service is the only one", "err", err)
		return
	}
	r.confined, r.sandbox.Landlock = dirs, abi
	r.Log.Info("writing is confined", "landlock", abi, "directories", strings.Join(dirs, " "))
}

// beyond is the trouble that settings newer than the confinement are in.
func (r *runner) beyond(c conf.Config) error {
	if r.confined == nil {
		return nil
	}
	for _, dir := range writable(c) {
		if !slices.ContainsFunc(r.confined, func(allowed string) bool { return dir == allowed || strings.HasPrefix(dir, allowed+"/") }) {
			return fmt.Errorf("the running agent must not write in %s: restart it", dir)
		}
	}
	return nil
}
