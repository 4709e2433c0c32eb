package host

import (
	"maps"
	"time"
)

// The kinds of Event of a Host. A cloud adds kinds of its own.
const (
	KindRequest = "request" // any request, with its status; 0 if it was cut
	KindFault   = "fault"   // a fault happened to a request
	KindInside  = "inside"  // a request came although a rate limit's window was closed
	KindIssue   = "issue"   // a login made a new token
	KindRenew   = "renew"   // a token was renewed, or lives longer
	KindRefuse  = "refuse"  // a login or renewal was refused, with why
	KindRevoke  = "revoke"  // tokens were ended before their time
)

// An Event is one thing that happened at a Host. It never holds more of a
// secret than its last 6 characters.
type Event struct {
	At     time.Time
	Kind   string
	Op     string
	Method string
	Path   string
	Status int
	Topic  string
	Token  string
	Why    string
}

// Observe makes the Host tell of each Event; nil ends that. It is called with
// no lock held and must not call the Host.
func (h *Host) Observe(tell func(Event)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.observe = tell
}

// Note counts an Event, and tells of it.
func (h *Host) Note(e Event) { h.note(e) }

func (h *Host) note(e Event) {
	h.mu.Lock()
	e.At = time.Now().Add(h.offset)
	h.counts[e.Kind]++
	if h.times[e.Kind] == nil {
		h.times[e.Kind] = &Ring[time.Time]{}
	}
	h.times[e.Kind].Add(e.At)
	tell := h.observe
	h.mu.Unlock()
	if tell != nil {
		tell(e)
	}
}

// Count returns how often a kind of event has happened.
func (h *Host) Count(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[kind]
}

// Counts returns how often each kind of event has happened.
func (h *Host) Counts() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.counts)
}

// Times returns when the newest events of a kind happened, some thousands at
// most: of KindIssue, when tokens were created.
func (h *Host) Times(kind string) []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.times[kind] == nil {
		return nil
	}
	return h.times[kind].All()
}

// Requests returns the newest requests, some thousands at most, oldest first.
func (h *Host) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests.All()
}

// Arrivals returns when the newest requests of an operation came, some
// thousands at most.
func (h *Host) Arrivals(op string) []time.Time {
	var at []time.Time
	for _, r := range h.Requests() {
		if r.Op == op {
			at = append(at, r.At)
		}
	}
	return at
}

func (h *Host) answered(r Request) {
	h.mu.Lock()
	h.requests.Add(r)
	h.mu.Unlock()
	h.note(Event{Kind: KindRequest, Op: r.Op, Method: r.Method, Path: r.Path, Status: r.Status})
	if r.Inside {
		h.note(Event{Kind: KindInside, Op: r.Op, Method: r.Method, Path: r.Path, Status: r.Status})
	}
}

// CloseWindow says that clients were told to send no request of this operation
// until then; of no operation at all if op is empty. Requests that come
// meanwhile count as Inside. Those of the same instant do not: their senders
// could not know.
func (h *Host) CloseWindow(op string, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now().Add(h.offset)
	w := h.windows[op]
	if !now.Before(w.until) {
		w.from = now
	}
	if until.After(w.until) {
		w.until = until
	}
	h.windows[op] = w
}

func (h *Host) inside(op string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now().Add(h.offset)
	for _, name := range []string{op, ""} {
		if w := h.windows[name]; now.After(w.from) && now.Before(w.until) {
			return true
		}
	}
	return false
}

// Tail is as much of a secret as anything may show.
func Tail(secret string) string {
	if len(secret) <= 6 {
		return ""
	}
	return "…" + secret[len(secret)-6:]
}
