package local

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"
)

const subscribePath = "/v1/subscribe"

// Bounds of what subscribers make the agent keep.
const (
	subscribersPerUID = 8
	maxSubscribers    = 64
	maxWaiting        = 128     // messages for one subscriber
	maxWaitingBytes   = 1 << 20 // of their payloads, if there is more than one
)

// A Message is one line of the answer to GET /v1/subscribe.
type Message struct {
	Topic    string  `json:"topic"` // under the topic base, or in full behind a slash
	QoS      byte    `json:"qos"`
	Retained bool    `json:"retained,omitempty"` // the broker had kept it: it may be old
	Payload  *string `json:"payload,omitempty"`  // where it is text; else
	Base64   *string `json:"payload_base64,omitempty"`
	Missed   int     `json:"missed,omitempty"` // messages before this one that the subscriber was too slow for
}

// Bytes is the payload.
func (m Message) Bytes() ([]byte, error) {
	return Publication{Payload: m.Payload, Base64: m.Base64}.Bytes()
}

// An exchange hands the messages of the broker to the local subscribers.
type exchange struct {
	mu   sync.Mutex
	subs []*subscriber
}

// A subscriber is one connection that wants messages.
type subscriber struct {
	filter string // in full
	uid    uint32
	ready  chan struct{} // rung when something waits
	// The exchange's mutex guards these.
	waiting []Message
	bytes   int
	missed  int
}

// Deliver hands a message of the broker to those whose filter matches its topic
// in full; m has it as they write it. It waits for nobody: who is slow misses
// messages, and is told how many.
func (s *Server) Deliver(topic string, payload []byte, m Message) {
	e := &s.exchange
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sub := range e.subs {
		if !Matches(sub.filter, topic) {
			continue
		}
		if m.Payload == nil && m.Base64 == nil {
			m.carry(payload)
		}
		sub.put(m, len(payload))
	}
}

// carry puts the payload into m. Text is what JSON can hold at no more than
// twice its size.
func (m *Message) carry(payload []byte) {
	text := string(payload)
	if !utf8.Valid(payload) || bytes.ContainsFunc(payload, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }) {
		text = base64.StdEncoding.EncodeToString(payload)
		m.Base64 = &text
		return
	}
	m.Payload = &text
}

func (s *subscriber) put(m Message, size int) {
	if len(s.waiting) >= maxWaiting || len(s.waiting) > 0 && s.bytes+size > maxWaitingBytes {
		s.missed++
		return
	}
	m.Missed, s.missed = s.missed, 0
	s.waiting = append(s.waiting, m)
	s.bytes += size
	select {
	case s.ready <- struct{}{}:
	default: // rung already
	}
}

// join adds a subscriber, unless its user or all together have too many.
func (e *exchange) join(filter string, uid uint32) (*subscriber, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	same := 0
	for _, s := range e.subs {
		if s.uid == uid {
			same++
		}
	}
	if same >= subscribersPerUID || len(e.subs) >= maxSubscribers {
		return nil, Errorf(Busy, "uid %d has %d subscriptions, of %d there are: more are not served", uid, same, len(e.subs))
	}
	s := &subscriber{filter: filter, uid: uid, ready: make(chan struct{}, 1)}
	e.subs = append(e.subs, s)
	return s, nil
}

func (e *exchange) leave(s *subscriber) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.subs = slices.DeleteFunc(e.subs, func(o *subscriber) bool { return o == s })
}

// take returns what waits for s.
func (e *exchange) take(s *subscriber) []Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := s.waiting
	s.waiting, s.bytes = nil, 0
	return all
}

// subscribe writes messages as they come, until the peer leaves, does not read
// for too long, or the agent stops.
func (c *calls) subscribe(w http.ResponseWriter, r *http.Request, p peer) error {
	if c.Subscribe == nil {
		return Errorf(NotFound, "nothing can be subscribed to here")
	}
	filter, err := c.Subscribe(r.URL.Query().Get("filter"))
	if err != nil {
		return err
	}
	sub, err := c.exchange.join(filter, p.uid)
	if err != nil {
		return err
	}
	defer c.exchange.leave(sub)
	c.begin(w, ndjson)
	if c.write(w, nil) != nil { // the subscription is in force
		return nil
	}
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-sub.ready:
		}
		for _, m := range c.exchange.take(sub) {
			var line bytes.Buffer
			enc := json.NewEncoder(&line)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(m); err != nil || c.write(w, line.Bytes()) != nil {
				return nil // the peer has left
			}
		}
	}
}
