package mqtt

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	maxRecent = 256
	// recentFor is how long a message that the broker sends again is known: the
	// broker uses packet ids again, and a later message may have the same words.
	recentFor = time.Minute
)

// recent is the messages of QoS 1 that were queued lately. When a connection
// ends between a message and our PUBACK, the broker sends it again on the next,
// under the same packet id: a command must not run twice for that. At a takeover
// both connections are read at once, and it may overtake the first.
type recent struct {
	mu   sync.Mutex
	seed maphash.Seed
	list []arrival
}

type arrival struct {
	on   uint64 // the number of the connection
	id   uint16
	hash uint64
	at   time.Time
}

func (r *recent) hash(m Message) uint64 {
	if r.seed == (maphash.Seed{}) {
		r.seed = maphash.MakeSeed()
	}
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(m.Topic)
	_ = h.WriteByte(0) // which no topic has
	_, _ = h.Write(m.Payload)
	return h.Sum64()
}

// once queues the message m, which came on the connection numbered on, by put,
// unless it was queued before: again is whether the broker marks it as sent
// again. What there is no room for is not noted: the broker will send it again.
func (r *recent) once(on uint64, id uint16, again bool, m Message, put func() bool) (known, queued bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hash := r.hash(m)
	for _, a := range r.list {
		if a.id == id && a.hash == hash && (again || a.on > on) && time.Since(a.at) <= recentFor {
			return true, false
		}
	}
	if !put() {
		return false, false
	}
	if len(r.list) == maxRecent {
		r.list = append(r.list[:0], r.list[1:]...)
	}
	r.list = append(r.list, arrival{on, id, hash, time.Now()})
	return false, true
}
