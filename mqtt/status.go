package mqtt

import (
	"slices"
	"time"
)

// The states of a Session.
const (
	Offline    = "offline"    // no connection; NextTry says when the next attempt is
	Connecting = "connecting" // dialling, or waiting for CONNACK or SUBACK
	Online     = "online"     // subscribed; Publish works
	Refused    = "refused"    // the broker refused the credential; waiting for another
)

// The causes of an ended attempt or connection, for programs; Status.Err says
// the same to a person.
const (
	CauseNetwork     = "network"     // no DNS, no route, no TLS, no CONNACK, or a cut connection
	CauseRefused     = "refused"     // CONNACK 4 or 5: the credential
	CauseRejected    = "rejected"    // CONNACK 1 or 2: the protocol or the client id
	CauseUnavailable = "unavailable" // CONNACK 3
	CauseKicked      = "kicked"      // ended right after CONNACK: taken over, or a forbidden topic
	CauseTaken       = "taken"       // closed by the broker again and again: another client with our client id
	CauseSilent      = "silent"      // the broker answered no ping
	CauseProtocol    = "protocol"    // the broker sent what no broker may send
	CauseCredential  = "credential"  // there is none, or CONNECT cannot carry it
	CauseSuperseded  = "superseded"  // a newer credential
	CauseAsked       = "asked"       // Reconnect
	CauseStopped     = "stopped"     // the context of Run is done
)

// A Status is what a person or a program can know about a Session.
type Status struct {
	State  string    // Offline, Connecting, Online or Refused
	Since  time.Time // when State began
	Broker string    // as Session.Broker names it

	Err     string    // why the last attempt failed or the last connection ended; empty while online
	Cause   string    // the kind of Err, one of the Cause constants
	Attempt int       // failures in a row; 0 while online
	NextTry time.Time // when the next attempt starts; zero unless waiting

	OnlineAt       time.Time // the last CONNACK with code 0
	OfflineAt      time.Time // the last end of a connection
	SessionPresent bool      // whether the broker still had our session at OnlineAt
	FiltersRefused []string  // filters that the broker or the checks refused, without the optional ones
	OptionalLeft   bool      // optional filters are left out: the broker kicked us with them

	Held       string        // why the newest credential could not take over; the connection has the one before
	Takeovers  int           // connections that gave way to the next without a break
	Gap        time.Duration // for how long nothing could be sent at the last change of connections
	BreakFirst bool          // the broker accepts no second connection of the client: each is closed before the next

	Connects int // connections accepted since Run
	Refusals int // CONNACK 4 and 5 since Run
	Kicks    int // connections that ended right after CONNACK
	Pending  int // publishes sent and not acknowledged, which the session keeps
	Dropped  int // messages of the broker dropped: full queue, too large, impossible topic
}

// Status returns what is known now and a channel that is closed when that
// changes. Pending and Dropped are counted at the call and close no channel.
func (s *Session) Status() (Status, <-chan struct{}) {
	st, ok, changed := s.status.Get()
	if !ok {
		st = Status{State: Offline, Broker: s.Broker}
	}
	st.FiltersRefused = slices.Clone(st.FiltersRefused)
	st.Pending = s.window.len()
	st.Dropped = int(s.dropped.Load())
	return st, changed
}

// note changes the Status. Only the goroutine of the connection calls it.
func (s *Session) note(change func(*Status)) {
	st, ok, _ := s.status.Get()
	if !ok {
		st = Status{State: Offline, Broker: s.Broker, Since: time.Now()}
	}
	before := st.State
	change(&st)
	if st.State != before {
		st.Since = time.Now()
	}
	s.status.Set(st)
}
