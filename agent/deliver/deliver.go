// Package deliver puts an account's token where programs look for it, and tells
// them when it has changed.
package deliver

import (
	"context"
	"io/fs"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A Token is what is delivered. It does not print its value.
type Token struct {
	Account string
	Value   string
	Expires time.Time // zero if unknown
}

// String tells the account alone.
func (t Token) String() string { return "token of " + t.Account }

// GoString is as String.
func (t Token) GoString() string { return t.String() }

// A Target is one place where a token goes, and who is told.
type Target struct {
	ID     string // names the target within its account
	File   string // absolute path; no file if empty
	Format Format // of File
	// Text is what File says about a token, where no Format does; may be nil.
	Text   func(Token) ([]byte, error)
	Mode   fs.FileMode // of File: the permission bits
	Owner  string      // of File, a name or a number; if empty as it is, for a new file ours
	Group  string      // likewise
	Notify Notify      // after a change of the token's value
}

// An Account is the deliveries of one account. Set its fields before Run.
type Account struct {
	Name    string
	Targets []Target
	// Current returns the token in force, false while there is none, and a
	// channel that is closed when that has changed.
	Current func() (Token, bool, <-chan struct{})
	// Edit returns the text of an INI file with one value changed, or added if
	// it was not there. It is needed for the format ini.
	Edit func(text []byte, section, key, value string) ([]byte, error)
	// Records is a directory in which the agent remembers which token each
	// target was told of, so that a program is told once, whatever dies between.
	// In memory alone if empty.
	Records string
	Log     *slog.Logger

	disk    atomicfile.FS                              // atomicfile.OS if nil
	telling func(context.Context, Target, Token) error // Notify.tell if nil
	workers []*worker
}

// Prepare makes the targets' workers. Call it once, before Run and Status.
func (a *Account) Prepare() {
	for _, t := range a.Targets {
		w := &worker{Account: a, target: t, log: a.Log.With("account", a.Name, "delivery", t.ID)}
		w.status.Set(Status{ID: t.ID, File: t.File, State: Waiting, Since: time.Now()})
		a.workers = append(a.workers, w)
	}
}

// Run delivers each new token until ctx is done. Every target is served by
// itself: one that fails or hangs delays no other.
func (a *Account) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, w := range a.workers {
		g.Go(func() error { w.run(ctx); return nil })
	}
	<-ctx.Done()
	return g.Wait()
}

// A State is how a target stands.
type State string

// The states of a target.
const (
	Waiting   State = "waiting"   // there is no token yet
	Delivered State = "delivered" // the file holds the newest token
	Telling   State = "telling"   // it does, and its reader is about to be told
	Failing   State = "failing"   // the file, or telling its reader, does not work; it is tried again
)

// A Status is what a person needs to know about a target. It holds no secret.
type Status struct {
	ID      string
	File    string
	State   State
	Since   time.Time // when State began
	Written time.Time // when the file was replaced last, since the start
	Told    time.Time // when its reader was told last, since the start
	Error   string    // with what to do about it, where that is known
	Attempt int       // failures in a row
	NextTry time.Time // while failing
}

// Status returns how each target stands, in the order of Targets.
func (a *Account) Status() []Status {
	all := make([]Status, 0, len(a.workers))
	for _, w := range a.workers {
		s, _, _ := w.status.Get()
		all = append(all, s)
	}
	return all
}
