package upload

import (
	"sync"
	"time"
)

// The states of an Uploader.
const (
	Idle    = "idle"    // nothing to send
	Sending = "sending" // a request is under way
	Waiting = "waiting" // for NextTry, after LastError
)

// A Status is what an Uploader is doing. The counters begin with its Run.
type Status struct {
	State string
	Since time.Time // when it came to be in State

	Queued      int   // files in the spool
	QueuedBytes int64 // what they take up

	InFlight      string // name of the file that is being sent; "" for none
	InFlightBytes int64  // of it that have been sent
	InFlightTotal int64

	Sent        int // files that arrived in full
	Dropped     int // files lost to a full spool
	Quarantined int // files in State/quarantine, each with its reason

	// Skipped are files in the drop box that are not taken, and why: the first
	// few of them.
	Skipped []Skipped

	Types []TypeStatus // in the order of importance
	Spent bool         // the month's bytes keep files waiting

	LastError   string    // of the last attempt to send; "" after a success
	NextTry     time.Time // zero unless Waiting
	IntakeError string    // why the drop box or the spool cannot be used; "" if they can
	Watching    bool      // events tell of new files, instead of a look from time to time
}

// A Skipped file stays in the drop box.
type Skipped struct {
	Path   string // below the drop box, quoted where it does not print
	Reason string
}

// A TypeStatus is what there is of one type.
type TypeStatus struct {
	Type    string
	Queued  int
	Bytes   int64 // what they take up
	Dropped int   // since Run began
}

// waiting makes s the status of an Uploader that failed with err.
func (s *Status) waiting(err error, until time.Time) {
	s.idle()
	s.State, s.LastError, s.NextTry = Waiting, err.Error(), until
}

// idle makes s the status of an Uploader without anything to send.
func (s *Status) idle() {
	s.State, s.NextTry = Idle, time.Time{}
	s.InFlight, s.InFlightBytes, s.InFlightTotal = "", 0, 0
}

// sending publishes that n of total bytes of it have been sent.
func (u *Uploader) sending(it *item, n, total int64) {
	u.note(func(s *Status) {
		s.State, s.NextTry = Sending, time.Time{}
		s.InFlight, s.InFlightBytes, s.InFlightTotal = it.Name, n, total
	})
}

// sent returns how many files have arrived.
func (u *Uploader) sent() int {
	u.tally.mu.Lock()
	defer u.tally.mu.Unlock()
	return u.tally.s.Sent
}

// A tally is the Status under construction.
type tally struct {
	mu      sync.Mutex
	s       Status
	dropped map[string]int // by type
}

// note changes the status and publishes it.
func (u *Uploader) note(change func(*Status)) {
	u.tally.mu.Lock()
	defer u.tally.mu.Unlock()
	s := &u.tally.s
	before := s.State
	if change != nil {
		change(s)
	}
	if s.State == "" {
		s.State = Idle
	}
	if s.State != before {
		s.Since = time.Now()
	}
	var types map[string]count
	s.Queued, s.QueuedBytes, types = u.spool.size()
	s.Types = make([]TypeStatus, 0, len(importance)) // not the one that others read
	for _, typ := range importance {
		s.Types = append(s.Types, TypeStatus{typ, types[typ].files, types[typ].bytes, u.tally.dropped[typ]})
	}
	u.status.Set(*s)
}
