package outbox

import "time"

// A Status is what a person or a program can know about an Outbox. Counts are
// since the start.
type Status struct {
	Messages int       // that wait
	Bytes    int64     // on disk
	Oldest   time.Time // about when the oldest message was put; zero if none waits or the time was not known

	Published  int64 // messages made durable
	Delivered  int64 // acknowledged by the broker
	Dropped    int64 // lost: outbox full, too old, given up or damaged
	Expired    int64 // of them for their age
	Superseded int64 // messages that a newer one of their topic has replaced

	PublishedBytes int64 // topics and payloads of Published
	WrittenBytes   int64 // written to disk

	Quarantined int   // damaged files set aside
	Err         error // why the disk takes nothing now; nil if it does
}

// Status returns what is known now.
func (o *Outbox) Status() Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.stat
	st.Err = o.err
	for _, s := range o.list {
		st.Messages += s.live
		st.Bytes += s.size
		if s.live > 0 && st.Oldest.IsZero() && s.oldest != 0 {
			st.Oldest = time.Unix(s.oldest, 0)
		}
	}
	return st
}
