package mqtt

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	maxUnacked      = 256     // messages
	maxUnackedBytes = 4 << 20 // of payload
	maxKicks        = 5       // connections a message may end before it is given up
)

// unacked keeps the publishes of QoS 1 that the broker has not acknowledged,
// from connection to connection, in the order of their publishing and under
// their packet ids (MQTT 3.1.1, section 4.4). It lives as long as the process:
// a queue on disk belongs in front of Publish, which says by its nil error when
// a message may be forgotten.
type unacked struct {
	mu    sync.Mutex
	list  []*kept
	bytes int
	owner *connStore // the connection that may change the list
}

type kept struct {
	packet packets.PublishPacket
	kicks  int
}

func (u *unacked) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.list)
}

// room reports whether n more bytes may be kept.
func (u *unacked) room(n int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.list) < maxUnacked && (len(u.list) == 0 || u.bytes+n <= maxUnackedBytes)
}

// kicked counts a connection that ended right after CONNACK against every
// message kept, and gives up those that were there too often: one of them may
// be what the broker answers by closing, and would do so for ever.
func (u *unacked) kicked() (givenUp []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list = slices.DeleteFunc(u.list, func(k *kept) bool {
		if k.kicks++; k.kicks < maxKicks {
			return false
		}
		u.bytes -= len(k.packet.Payload)
		givenUp = append(givenUp, k.packet.TopicName)
		return true
	})
	return givenUp
}

// A connStore is one connection's hold on the unacknowledged messages, in the
// shape the library wants. It goes dead when the next connection takes over, so
// that what is left of an old connection cannot touch a packet id that is in
// use again.
type connStore struct {
	*unacked
	fates map[uint16]bool // what became of the publishes of this connection: acknowledged or not
}

func (u *unacked) open() *connStore {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.owner = &connStore{u, make(map[uint16]bool)}
	return u.owner
}

// settle returns what became of the publish with the packet id, once: whether
// it was kept at all and whether it was acknowledged.
func (s *connStore) settle(id uint16) (put, acked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acked, put = s.fates[id]
	delete(s.fates, id)
	return put, acked
}

// outbound returns the packet id of an outbound key, or 0.
func outbound(key string) uint16 {
	id, ok := strings.CutPrefix(key, "o.")
	n, err := strconv.ParseUint(id, 10, 16)
	if !ok || err != nil {
		return 0
	}
	return uint16(n)
}

// find returns the place of the packet id, or -1 if it is not there or this
// connection is over. The caller holds mu.
func (s *connStore) find(id uint16) int {
	if s.owner != s {
		return -1
	}
	return slices.IndexFunc(s.list, func(k *kept) bool { return k.packet.MessageID == id })
}

// Put keeps an outbound publish; the library stores other packets too, which
// mean nothing on another connection.
func (s *connStore) Put(key string, packet packets.ControlPacket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := packet.(*packets.PublishPacket)
	id := outbound(key)
	if !ok || s.owner != s || id == 0 {
		return
	}
	if i := s.find(id); i >= 0 {
		s.remove(i)
	}
	s.fates[id] = false
	s.list = append(s.list, &kept{packet: *p})
	s.bytes += len(p.Payload)
}

// Get returns a copy: the library marks it as a duplicate.
func (s *connStore) Get(key string) packets.ControlPacket {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(outbound(key))
	if i < 0 {
		return nil
	}
	p := s.list[i].packet
	return &p
}

// All returns the keys in the order of publishing.
func (s *connStore) All() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != s {
		return nil
	}
	keys := make([]string, len(s.list))
	for i, k := range s.list {
		keys[i] = "o." + strconv.Itoa(int(k.packet.MessageID))
	}
	return keys
}

// Del forgets an acknowledged publish.
func (s *connStore) Del(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := outbound(key)
	if i := s.find(id); i >= 0 {
		s.remove(i)
	}
	if _, put := s.fates[id]; put {
		s.fates[id] = true
	}
}

func (s *connStore) remove(i int) {
	s.bytes -= len(s.list[i].packet.Payload)
	s.list = slices.Delete(s.list, i, i+1)
}

// Open, Close and Reset have nothing to do: the list outlives connections.
func (s *connStore) Open()  {}
func (s *connStore) Close() {}
func (s *connStore) Reset() {}
