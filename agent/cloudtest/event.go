package cloudtest

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// The kinds of Event.
const (
	EventLogin      = "login"      // POST /loginDevice, with its status
	EventUserLogin  = "user-login" // POST /login, with its status
	EventRequest    = "request"    // any API request, with its status; 0 if it was cut
	EventFault      = "fault"      // a fault happened to a request or connection
	EventConnect    = "connect"    // CONNECT, with the code it got
	EventDisconnect = "disconnect" // an MQTT connection ended
	EventSubscribe  = "subscribe"  // one filter, with why when it is refused
	EventPublish    = "publish"    // a message from a device
	EventSent       = "sent"       // a message from the cloud's side
	EventForbidden  = "forbidden"  // a topic outside of the device's base
	EventDownload   = "download"   // bytes of an OTA file, as they were sent
	EventUpload     = "upload"     // content of a data file, complete
	EventLeak       = "leak"       // a token arrived at the host of the files
)

// An Event is one thing that happened at the Cloud. It never holds more of a
// token than its last 6 characters.
type Event struct {
	Seq    int       `json:"seq"`             // 1, 2, 3 ...
	At     time.Time `json:"at"`              // by the Cloud's clock
	Cloud  string    `json:"cloud,omitempty"` // which one, if not Spoke Zone
	Kind   string    `json:"kind"`
	Device int       `json:"device,omitempty"`
	Op     string    `json:"op,omitempty"` // one of Operations
	Method string    `json:"method,omitempty"`
	Path   string    `json:"path,omitempty"`   // with its query
	Status int       `json:"status,omitempty"` // of HTTP, or the code of a CONNACK
	Topic  string    `json:"topic,omitempty"`
	ID     int       `json:"id,omitempty"`     // of an OTA file or data file
	Offset int64     `json:"offset,omitempty"` // of a download's first byte
	Size   int64     `json:"size,omitempty"`
	Token  string    `json:"token,omitempty"`
	Why    string    `json:"why,omitempty"`
	Text   string    `json:"-"` // how a message that is text begins
}

// A Login is one POST /loginDevice.
type Login struct {
	At     time.Time
	Device int // 0 if unknown
	Status int
	Token  string // the token that was sent
	Given  string // the token of a 201, whether or not the answer arrived
}

// A Connect is one CONNECT.
type Connect struct {
	At       time.Time
	Device   int // 0 if unknown
	ClientID string
	Token    string // the user name
	Clean    bool
	Code     byte // of the CONNACK
}

// A Message is one PUBLISH of a device, or one for it.
type Message struct {
	At      time.Time
	Device  int
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// eventLog keeps the newest events and wakes those who wait for more.
type eventLog struct {
	mu      sync.Mutex
	ring    host.Ring[Event]
	seq     int
	changed chan struct{} // closed by the next event; nil until someone waits
}

func (l *eventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq = l.seq
	l.ring.Add(e)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Events returns the events after number seq that are still kept, some
// thousands at most, and a channel that is closed by the next one.
func (c *Cloud) Events(seq int) ([]Event, <-chan struct{}) {
	l := &c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	kept := l.ring.Kept()
	first := l.seq - len(kept) // the number before the oldest
	skip := min(max(seq-first, 0), len(kept))
	return append([]Event(nil), kept[skip:]...), l.changed
}

// WaitFor returns the first event after number seq for which match says true.
func (c *Cloud) WaitFor(ctx context.Context, seq int, match func(Event) bool) (Event, error) {
	for {
		events, more := c.Events(seq)
		for _, e := range events {
			if match(e) {
				return e, nil
			}
			seq = e.Seq
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		case <-c.serving.Done():
			return Event{}, ErrClosed
		}
	}
}

// note records an event. The caller holds c.mu.
func (c *Cloud) note(e Event) {
	e.At = c.now()
	c.counts[e.Kind]++
	c.log.add(e)
}

func (c *Cloud) record(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(e)
}

// Tell puts an event of another cloud between those of this one. It is not
// counted.
func (c *Cloud) Tell(e Event) { c.log.add(e) }

// Counts returns how often each kind of event has happened since New, also
// those that are no longer kept.
func (c *Cloud) Counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

// Logins returns the newest logins, some thousands at most, oldest first.
func (c *Cloud) Logins() []Login {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logins.All()
}

// Connects returns the newest CONNECTs, some thousands at most, oldest first.
func (c *Cloud) Connects() []Connect {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connects.All()
}

// Messages returns the newest messages of devices, some thousands at most,
// oldest first.
func (c *Cloud) Messages() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages.All()
}

// Newest returns the last message that a device sent on topic.
func (c *Cloud) Newest(topic string) (Message, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.newest[topic]
	return m, ok
}

// Versions returns the software versions that a device published last.
func (c *Cloud) Versions(device int) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.devices[device]; d != nil {
		return maps.Clone(d.versions)
	}
	return nil
}
