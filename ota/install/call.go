// Package install runs the hooks that install updates, with the rights that
// they need and on behalf of a daemon that it does not trust.
package install

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// Verbs are all of the contract, in the order of an update.
var Verbs = []ota.Verb{ota.HookInfo, ota.HookCheck, ota.HookProbe, ota.HookInstall, ota.HookVerify, ota.HookCommit,
	ota.HookRollback, ota.HookCleanup}

// times is how long each verb may take, unless the hook's info says otherwise.
var times = map[ota.Verb]time.Duration{
	ota.HookInfo: 10 * time.Second, ota.HookCheck: 2 * time.Minute, ota.HookProbe: time.Minute, ota.HookInstall: time.Hour,
	ota.HookVerify: 5 * time.Minute, ota.HookCommit: 2 * time.Minute, ota.HookRollback: time.Hour, ota.HookCleanup: time.Minute,
}

// changes reports a verb that changes something on the device.
func changes(v ota.Verb) bool {
	return v == ota.HookInstall || v == ota.HookCommit || v == ota.HookRollback || v == ota.HookCleanup
}

// A Call is one run of a hook: everything that the hook is told.
type Call struct {
	Hook      string        `json:"hook"` // the program
	Verb      ota.Verb      `json:"verb"`
	Txn       string        `json:"txn"`
	UUID      string        `json:"uuid"` // of the same transaction, for installers that want one
	ID        string        `json:"id"`
	Module    string        `json:"module"`
	Version   string        `json:"version"`
	From      string        `json:"from"`
	File      string        `json:"file"`
	Size      int64         `json:"size"`
	SHA256    string        `json:"sha256"`
	NotesFile string        `json:"notes_file"`
	StateDir  string        `json:"state_dir"` // the hook's own, and its working directory
	KeepDir   string        `json:"keep_dir"`  // what outlives the update
	Attempt   int           `json:"attempt"`
	Reason    string        `json:"reason"`
	DryRun    bool          `json:"dry_run,omitempty"`
	Lib       string        `json:"lib,omitempty"` // what the hook shares with others
	Limit     time.Duration `json:"limit"`         // how long it may take
}

// env is the hook's whole environment.
func (c Call) env(now time.Duration, bootID string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}
	dry := "0"
	if c.DryRun {
		dry = "1"
	}
	for _, v := range [][2]string{
		{"API", "1"}, {"TXN", c.Txn}, {"TXN_UUID", c.UUID}, {"ID", c.ID}, {"MODULE", c.Module}, {"VERSION", c.Version},
		{"FROM_VERSION", c.From}, {"FILE", c.File}, {"SIZE", strconv.FormatInt(c.Size, 10)}, {"SHA256", c.SHA256},
		{"NOTES_FILE", c.NotesFile}, {"STATE_DIR", c.StateDir}, {"KEEP_DIR", c.KeepDir}, {"ATTEMPT", strconv.Itoa(c.Attempt)},
		{"BOOT_ID", bootID}, {"DEADLINE_BOOTTIME", strconv.FormatInt(int64((now+c.Limit)/time.Second), 10)},
		{"DRY_RUN", dry}, {"REASON", c.Reason},
	} {
		env = append(env, "SPOKE_OTA_"+v[0]+"="+plain(v[1], 1024))
	}
	if c.Lib != "" {
		env = append(env, "SPOKE_OTA_LIB="+c.Lib)
	}
	return env
}

// plain is s without what a shell's user does not expect in a variable, and not
// too long.
func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '?'
		}
		return r
	}, s)
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// bootTime is CLOCK_BOOTTIME: the time since the device was switched on,
// suspend included.
func bootTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // never fails for a clock that is there
	return time.Duration(t.Nano())
}

// bootFile is another one in tests.
var bootFile = "/proc/sys/kernel/random/boot_id"

// bootID tells this boot from every other.
func bootID() (string, error) {
	b, err := os.ReadFile(bootFile)
	if err != nil {
		return "", fmt.Errorf("identity of the boot: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Limit is how long a verb of a hook may take, of whose info these are the
// settings.
func Limit(v ota.Verb, info map[string]string) time.Duration {
	if n, err := strconv.ParseInt(info["timeout."+string(v)], 10, 64); err == nil && n >= 1 && n <= 86400 {
		return time.Duration(n) * time.Second
	}
	if t := times[v]; t > 0 {
		return t
	}
	return time.Minute
}
