package ota

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Verb is one call of a module's hook, of version 1 of the contract in
// docs/hooks.md. All may be repeated after a cut.
type Verb string

// The verbs.
const (
	HookInfo     Verb = "info"     // tell what the hook can do
	HookCheck    Verb = "check"    // look at the payload and change nothing
	HookProbe    Verb = "probe"    // tell what is installed and change nothing
	HookInstall  Verb = "install"  // install the payload
	HookVerify   Verb = "verify"   // tell whether the new version is healthy
	HookCommit   Verb = "commit"   // make the new version permanent
	HookRollback Verb = "rollback" // go back to the previous version from any point
	HookCleanup  Verb = "cleanup"  // drop what was only needed meanwhile
)

// A Code is the exit status of a hook, or what it counts as after a signal or
// a time-out.
type Code int

// The codes of the contract.
const (
	HookOK          Code = 0
	HookOKReboot    Code = 10 // done, and a reboot is needed
	HookLater       Code = 12 // busy now: not counted
	HookRetry       Code = 13 // a passing fault: counted
	HookActive      Code = 20 // of probe: the new version runs
	HookStaged      Code = 21 // of probe: it will at the next boot
	HookPrevious    Code = 22 // of probe: the previous one runs
	HookDamaged     Code = 23 // of probe: neither does, or not wholly
	HookRunning     Code = 24 // of probe: an installation is under way
	HookReject      Code = 30 // this payload never
	HookNoSpace     Code = 31 // not before there is room
	HookWrongDevice Code = 32
	HookDowngrade   Code = 33
	HookUnchanged   Code = 40 // failed, nothing was changed
	HookChanged     Code = 41 // failed, something was changed
)

// A Txn is what a hook is told of the update that it serves.
type Txn struct {
	Seq     uint32 // counts the module's updates
	Module  string
	ID      string // of the release
	From    Version
	To      Version
	Notes   string // of the release, as the cloud has them
	Payload Payload
	Attempt int    // counts the calls of this verb for this update, from 1
	Reason  string // why the verb is called, in a few words
	// Deadline is when the verb must have ended, as time since the boot
	// (CLOCK_BOOTTIME). Zero: what the hook's info says.
	Deadline time.Duration
	// Progress is told what the hook says of it, percent from 0 to 100. It may
	// be nil.
	Progress func(percent int, phase string)
}

// A Result is how a verb ended.
type Result struct {
	Code       Code
	Settings   map[string]string // what the hook kept with @set
	RetryAfter time.Duration     // with HookLater; 0 if the hook does not say
	NeedBytes  int64             // with HookNoSpace; 0 if the hook does not say
	Text       string            // what the hook said last, a line for a person
}

// ErrNoInstaller means that nothing can be installed on this device: it has no
// installer, or the installer has no hook for the module.
var ErrNoInstaller = errors.New("no installer")

// An Installer runs the hooks, with the rights that they need. Its calls are
// safe to repeat: never do two hooks of a module run at once, whoever dies.
type Installer interface {
	// Do runs a verb and waits for its end. An error says that nothing is known
	// of how it ended, or whether it began: ask with HookProbe. It is
	// ErrNoInstaller where there can be no answer, and ctx's when ctx ends
	// first; the hook then goes on.
	Do(ctx context.Context, verb Verb, txn Txn) (Result, error)
	// Last returns how the verb of exactly this update and attempt ended, if it
	// did and that is durable.
	Last(ctx context.Context, verb Verb, txn Txn) (result Result, ok bool, err error)
	// Running reports whether a verb that changes something has been asked for
	// and has not ended, for the module of txn. The channel is closed when that
	// is over; it is nil if nothing runs.
	Running(ctx context.Context, txn Txn) (<-chan struct{}, error)
	// Reboot asks for a reboot of the device for txn and returns once it is
	// asked for.
	Reboot(ctx context.Context, txn Txn) error
}

// codes are the names of the codes, for people.
var codes = map[Code]string{
	HookOK: "OK", HookOKReboot: "OK_REBOOT", HookLater: "LATER", HookRetry: "RETRY",
	HookActive: "ACTIVE", HookStaged: "STAGED", HookPrevious: "PREVIOUS", HookDamaged: "DAMAGED", HookRunning: "RUNNING",
	HookReject: "REJECT", HookNoSpace: "NO_SPACE", HookWrongDevice: "WRONG_DEVICE", HookDowngrade: "DOWNGRADE",
	HookUnchanged: "UNCHANGED", HookChanged: "CHANGED",
}

// String returns the name of the contract, with the number where it has none.
func (c Code) String() string {
	if name := codes[c]; name != "" {
		return name
	}
	return fmt.Sprintf("exit %d", int(c))
}

// Meaning is what a code counts as for a verb: a code that the contract does not
// know for it is the safe one. A check that failed oddly and a rollback are to be
// tried again, a probe finds damage, and what installs, verifies or commits has
// changed something, so that a probe must tell.
func (v Verb) Meaning(c Code) Code {
	known := false
	switch v {
	case HookProbe:
		known = c >= HookActive && c <= HookRunning
	case HookCheck:
		known = c == HookOK || c == HookLater || c == HookRetry || c >= HookReject && c <= HookDowngrade
	case HookVerify:
		known = c == HookOK || c == HookLater || c == HookRetry || c == HookUnchanged || c == HookChanged
	default:
		known = codes[c] != "" && (c < HookActive || c > HookRunning)
	}
	switch {
	case known:
		return c
	case v == HookProbe:
		return HookDamaged
	case v == HookCheck || v == HookRollback:
		return HookRetry
	}
	return HookChanged
}
