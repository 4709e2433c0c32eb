package mqtt

import "time"

// A Keep says what becomes of a message of QoS 1 that cannot be sent at once.
// One of QoS 0 is never kept.
type Keep byte

const (
	// KeepAll keeps every message, in order, on disk. Publish returns nil once
	// the message is durable: it is sent then, whatever happens to the process
	// or the power, unless it grows too old or the outbox too full.
	KeepAll Keep = iota
	// KeepLatest is KeepAll for the newest message of each topic: it takes the
	// place of those of its topic that have not been sent yet.
	KeepLatest
	// KeepNone keeps nothing: Publish returns nil once the broker has the
	// message, and ErrOffline at once where there is no connection.
	KeepNone
)

// A Queue is what waits in a Session for the broker.
type Queue struct {
	Messages int       // that wait, those sent and not yet acknowledged included
	Bytes    int64     // that the outbox takes on disk
	Oldest   time.Time // when the oldest was published; zero if none waits or the time was not known

	Published  int64 // messages made durable since the start
	Delivered  int64 // of them acknowledged by the broker
	Dropped    int64 // lost to the limits of size and age, oldest first
	Superseded int64 // that a newer one of the topic has replaced (KeepLatest)

	PublishedBytes int64 // topics and payloads of Published
	WrittenBytes   int64 // what was written to disk for them: the wear

	Quarantined int    // damaged files that were set aside
	Err         string // why nothing can be made durable now; empty if it can
}

// Queue returns what waits for the broker. Without an outbox that is what was
// sent and not acknowledged.
func (s *Session) Queue() Queue {
	if s.Outbox == nil {
		return Queue{Messages: s.window.len()}
	}
	st := s.Outbox.Status()
	q := Queue{
		Messages: st.Messages, Bytes: st.Bytes, Oldest: st.Oldest,
		Published: st.Published, Delivered: st.Delivered, Dropped: st.Dropped, Superseded: st.Superseded,
		PublishedBytes: st.PublishedBytes, WrittenBytes: st.WrittenBytes, Quarantined: st.Quarantined,
	}
	if st.Err != nil {
		q.Err = st.Err.Error()
	}
	return q
}
