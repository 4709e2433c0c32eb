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
// under the same packet id: a command must not run twice for that.
type recent struct {
	mu   sync.Mutex
	seed maphash.Seed
	list []arrival
}

type arrival struct {
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

// add notes a message that was queued.
func (r *recent) add(id uint16, m Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == maxRecent {
		r.list = append(r.list[:0], r.list[1:]...)
	}
	r.list = append(r.list, arrival{id, r.hash(m), time.Now()})
}

// has reports whether a message that is marked as sent again was queued before.
func (r *recent) has(id uint16, m Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	hash := r.hash(m)
	for _, a := range r.list {
		if a.id == id && a.hash == hash && time.Since(a.at) <= recentFor {
			return true
		}
	}
	return false
}
