package mqtt

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	// stable is how long a session must have been up for its failures to be
	// forgotten. A broker that accepts and closes at once is a failing broker.
	stable = 30 * time.Second

	// kickWindow is how soon after CONNACK an end looks like the broker's wish:
	// MQTT 3.1.1 has no reason codes, so time is all there is to tell a takeover
	// or a forbidden topic from a bad link.
	kickWindow = 2 * time.Second

	// takenWindow is how long after CONNACK an end by the broker may still come of
	// another client with our client id: it tries again within the longest wait.
	takenWindow = 6 * time.Minute

	// takenTimes is how many such ends in a row it takes to say so.
	takenTimes = 3

	// kicksWithOptional is how many kicks in a row it takes to suspect the
	// optional filters.
	kicksWithOptional = 2
)

// An ending is how an attempt or a connection ended.
type ending struct {
	cause string
	err   error
	up    time.Duration // since CONNACK, or that of the connection it took over from; 0 if there was none
	link  *link         // nil if there was none
	sent  bool          // it is of a CONNECT that was sent, and not accepted
}

// retries counts what the wait before the next attempt depends on.
type retries struct {
	failures int           // in a row
	kicks    int           // in a row
	taken    int           // connections in a row that the broker closed soon
	passes   int           // waits cut short by a newer credential since things were well
	up       time.Duration // of the connections since the last failure
}

// judge finds that another client takes the session over, by the only sign
// there is: the broker accepts us and closes soon afterwards, again and again. A
// broker that restarts refuses connections in between, and our own takeovers end
// no connection that is in use.
func (r *retries) judge(e ending, clientID string) ending {
	switch {
	case e.cause == CauseSuperseded, e.cause == CauseAsked:
		return e
	case e.up == 0, e.up > takenWindow, !closedByPeer(e.err):
		r.taken = 0
		return e
	}
	if r.taken++; r.taken >= takenTimes && e.cause == CauseNetwork {
		e.cause = CauseTaken
		e.err = fmt.Errorf("%d connections in a row were closed by the broker within minutes of CONNACK, as when another client uses the client id %q: %w", r.taken, clientID, e.err)
	}
	return e
}

// after takes an ending into account and returns how long to wait; 0 means as
// soon as minGap allows. u is a random draw from [0, 1).
func (r *retries) after(e ending, u float64) time.Duration {
	if r.up += e.up; r.up >= stable {
		r.failures, r.passes = 0, 0
	}
	switch e.cause {
	case CauseSuperseded, CauseAsked:
		return 0
	case CauseKicked:
		r.kicks++
	default:
		r.kicks = 0
	}
	r.up = 0
	r.failures++
	if e.cause == CauseRefused {
		// The same credential will hardly be accepted a few seconds later; a
		// newer one ends the wait.
		return Backoff(r.failures+2, u)
	}
	return Backoff(max(r.failures, r.taken), u)
}

// pass reports whether a newer credential is worth an attempt at once. The
// first one is. If that one is no better, the next waits like any attempt: a
// source of bad credentials must not make a storm.
func (r *retries) pass() bool {
	r.passes++
	return r.passes == 1
}

// endedConnect tells what the failure of a CONNECT means. err is the library's,
// cause what our end of the connection knows.
func endedConnect(err, cause error) ending {
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return ending{cause: CauseRefused, err: fmt.Errorf("%w: %w", ErrRefused, err)}
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return ending{cause: CauseUnavailable, err: err}
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion), errors.Is(err, packets.ErrorRefusedIDRejected):
		return ending{cause: CauseRejected, err: err}
	case cause != nil:
		err = cause
	}
	if err = fmt.Errorf("wait for CONNACK: %w", err); errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %w", errNoConnack, err)
	}
	return ending{cause: kind(err), err: err}
}

// ended tells what the end of an accepted connection means.
func ended(cause error, up time.Duration) ending {
	e := ending{cause: kind(cause), err: cause, up: up}
	if e.cause == CauseNetwork && up <= kickWindow {
		e.cause = CauseKicked
		e.err = fmt.Errorf("connection ended %v after CONNACK, perhaps by another client with this client id or for a forbidden topic: %w",
			up.Round(time.Millisecond), cause)
	}
	return e
}

func kind(err error) string {
	switch {
	case errors.Is(err, errSuperseded):
		return CauseSuperseded
	case errors.Is(err, errAsked):
		return CauseAsked
	case errors.Is(err, errSilent):
		return CauseSilent
	case errors.Is(err, errProtocol), errors.Is(err, errPacketTooLarge):
		return CauseProtocol
	}
	return CauseNetwork
}
