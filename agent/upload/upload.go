// Package upload brings data files from local programs to the cloud, each of
// them once.
//
// A program hands a file over in one of two ways: it drops it into the drop
// box, Dir/TYPE/NAME or Dir/TYPE/MODULE/NAME, or it streams it to Add. Either
// way the file ends in the spool, State/spool, where nobody else can change it,
// and waits there for the two requests that an upload takes.
//
// # When a dropped file is taken
//
// A file is taken when no event, size or modification time of it has changed
// for two seconds and no process has it open for writing (the latter is known
// where the file system grants leases and the file is our user's). So a program
// may write in place, but should write to a name that begins with "." or ends
// in ".part" or ".tmp", which are never taken, and rename it. An empty file is
// given half a minute, and is then quarantined without a word to the cloud.
//
// Taken are regular files with one name: those of root and of the agent's own
// user, and those of all users from a directory whose mode has the sticky bit, as
// in 1777. There nobody can have touched another's file; what the agent reads is
// what it has opened, never through a link, and a copy of it is kept, because
// its owner might still be writing. As the kernel does not tell us so much of
// another user's file, it is left alone for ten seconds. Links, devices, pipes
// and files that the agent cannot read stay where they are, and Status says why.
//
// # What is sent once
//
// The service has no way to ask whether a request was carried out, so that the
// id which the first request returns is on disk before the second begins: an
// answer lost on the way, or a crash, repeats the second request, with the same
// bytes under the same id. Only a crash between the first request's arrival and
// the writing down of its answer leaves an entry without contents behind.
package upload

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/budget"
	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

var (
	// ErrEmpty means that a file has no contents; the cloud refuses those.
	ErrEmpty = errors.New("file is empty")
	// ErrFull means that a file finds no room in the spool.
	ErrFull = errors.New("spool is full")
	// ErrType means that a type is none of Types.
	ErrType = errors.New("type is not one of the data file types")
	// ErrName means that a file's name or its module's key cannot be used.
	ErrName = errors.New("name cannot be used")
	// ErrClosed means that Run has ended.
	ErrClosed = errors.New("uploader has stopped")
)

// Types are the types of data files that the cloud knows.
var Types = []string{"log", "event", "gps", "debug", "journal", "dmesg", "txt"}

// A Sender makes the two requests of an upload, one attempt each. Its errors
// may have the methods HTTPStatus() int and RetryAfter() time.Duration. It
// deals with a refused access token itself.
type Sender interface {
	// CreateDataFile registers a data file, of a module unless that is "".
	CreateDataFile(ctx context.Context, typ, module string) (id string, err error)
	// PutDataFile sends its contents, size bytes of r.
	PutDataFile(ctx context.Context, id, name string, size int64, r io.Reader) error
}

// An Item is one file in the spool.
type Item struct {
	ID     string // of the item, in the order of arrival
	Type   string
	Module string // key; may be empty
	Name   string
	Size   int64 // in bytes
	Added  time.Time
}

// An Uploader takes files and sends them, oldest first. Its fields are set
// before its first method is called.
type Uploader struct {
	Dir   string // the drop box; its directories are made if missing
	State string // directory of the spool and the quarantine; made if missing
	// Modules are the keys of those that have a directory below each type's.
	Modules []string
	Sender

	// MaxFile is the size in bytes beyond which a file of lines is sent as
	// several data files; 1 MiB if zero. Other files are sent whole.
	MaxFile int64
	// MaxSpool bounds the spool in bytes; 64 MiB if zero. Beyond it the oldest
	// file of the least important type is dropped that has not been announced to
	// the cloud.
	MaxSpool int64
	Quotas   map[string]Quota // by type
	// Archive bounds what is kept of the files that have arrived, in bytes, in
	// State/archive. None is kept if it is zero.
	Archive int64
	// RateLimit bounds the bytes per second; 0 does not. Monthly bounds them by
	// the month of the cloud's time, with a tenth left to events and positions,
	// and three tenths to all but diagnostics.
	RateLimit, Monthly int64
	// Now is the cloud's time, and whether it is known; the system's if nil.
	Now func() (time.Time, bool)
	// Alive, if not nil, is told that the sender will be heard of again within
	// that time; zero takes it back.
	Alive func(within time.Duration)

	FS   atomicfile.FS  // atomicfile.OS if nil
	Rand func() float64 // in [0, 1); math/rand/v2 if nil
	Log  *slog.Logger   // slog.Default if nil

	seams
	spool  spool
	drop   dropBox
	status latest.Value[Status]
	tally  tally
	wake   chan struct{} // has room for one: something to send

	budget  *budget.Budget // what Monthly leaves
	limiter *rate.Limiter  // nil for none
	expired time.Time      // when ages were looked at last

	life   sync.RWMutex // held for reading by Add while it writes to the spool
	opened bool
	closed bool
}

// Run takes and sends files until ctx is done. It is called once. A disk that
// cannot be written is no reason to end: Status says so, and it tries again.
func (u *Uploader) Run(ctx context.Context) error {
	defer u.close()
	for attempt := 1; ; attempt++ {
		err := u.open()
		if err == nil {
			break
		}
		retry := Backoff(attempt, u.Rand())
		u.Log.Warn("spool cannot be opened", "err", err, "attempt", attempt, "retry_in", retry)
		u.note(func(s *Status) { s.waiting(err, time.Now().Add(retry)) })
		if !sleep(ctx, retry) {
			return nil
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return u.intake(ctx) })
	g.Go(func() error { return u.send(ctx) })
	return g.Wait()
}

// Add puts the contents of r into the spool. When it returns without an error
// the file will survive a power cut. name is what the cloud gets as file name.
func (u *Uploader) Add(ctx context.Context, typ, module, name string, r io.Reader) (Item, error) {
	if err := checkNames(typ, module, name); err != nil {
		return Item{}, err
	}
	if err := u.open(); err != nil {
		return Item{}, err
	}
	tmp, size, err := u.spool.receive(ctx, r)
	if err != nil {
		return Item{}, err
	}
	added, dated := u.Now()
	it, err := u.adopt(record{Type: typ, Module: module, Name: name, Size: size, Added: added, Dated: dated}, tmp)
	if err != nil {
		_ = u.spool.fs.Remove(tmp)
		return Item{}, err
	}
	return it, nil
}

// adopt makes an item of rec and of the file tmp, unless Run has ended: the
// spool may be another Uploader's by now.
func (u *Uploader) adopt(rec record, tmp string) (Item, error) {
	u.life.RLock()
	defer u.life.RUnlock()
	if u.closed {
		return Item{}, ErrClosed
	}
	if rec.Size == 0 {
		return Item{}, ErrEmpty
	}
	if err := u.room(&rec); err != nil {
		return Item{}, err
	}
	rec, err := u.spool.adopt(rec, tmp)
	if err != nil {
		return Item{}, err
	}
	u.queued(rec)
	return rec.item(), nil
}

// room makes room for the file of rec, unless that can wait where it is.
func (u *Uploader) room(rec *record) error {
	if rec.Origin != "" {
		if !u.spool.fits(rec.Size, rec.Type) {
			return ErrFull
		}
		return nil
	}
	victims, ok := u.spool.evict(rec.Size, rec.Type)
	u.dropped(victims, ErrFull)
	if !ok {
		return ErrFull
	}
	return nil
}

// Status returns the state in force, and a channel that is closed when it
// changes.
func (u *Uploader) Status() (Status, <-chan struct{}) {
	s, _, changed := u.status.Get()
	return s, changed
}

// open makes the spool ready, unless it is.
func (u *Uploader) open() error {
	u.life.Lock()
	defer u.life.Unlock()
	if u.closed {
		return ErrClosed
	}
	if u.opened {
		return nil
	}
	u.setDefaults()
	orphans, err := u.spool.open()
	if err != nil {
		return err
	}
	if orphans > 0 {
		u.Log.Error("files without a record were in the spool and are now in quarantine", "files", orphans)
	}
	u.opened = true
	u.budget.Open(u.FS, filepath.Join(u.State, "budget"))
	n := u.spool.countBad()
	u.note(func(s *Status) { s.Quarantined = n })
	return nil
}

func (u *Uploader) close() {
	u.life.Lock()
	defer u.life.Unlock()
	u.closed = true
	u.spool.close()
}

// queued announces a new item to the sender and to whoever reads Status.
func (u *Uploader) queued(rec record) {
	u.Log.Info("data file queued", "type", rec.Type, "module", rec.Module, "file", rec.Name, "bytes", rec.Size)
	victims, _ := u.spool.evict(0, "")
	u.dropped(victims, ErrFull)
	u.note(nil)
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// dropped counts and names what had to go.
func (u *Uploader) dropped(victims []*item, why error) {
	for _, v := range victims {
		u.Log.Error("data file dropped", "err", why, "type", v.Type, "module", v.Module, "file", v.Name, "bytes", v.Size)
	}
	if len(victims) > 0 {
		u.note(func(s *Status) {
			s.Dropped += len(victims)
			for _, v := range victims {
				u.tally.dropped[v.Type]++
			}
		})
	}
}

// checkNames refuses what has no place in a path or in a request.
func checkNames(typ, module, name string) error {
	if !slices.Contains(Types, typ) {
		return ErrType
	}
	if module != "" && !moduleKey(module) {
		return errModule
	}
	return checkName(name)
}
