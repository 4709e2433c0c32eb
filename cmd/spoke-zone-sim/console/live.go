package console

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

const (
	maxBacklog = 300                    // events that a page gets at once; of more, the newest
	breath     = 200 * time.Millisecond // between two looks at what has happened
	interval   = 500 * time.Millisecond // between two looks at the state while nothing happens
	beat       = 15 * time.Second       // between two signs of life
	patience   = 10 * time.Second       // for a page that does not read
)

// live streams what happens, and the state as it changes, until the page
// goes. Nothing is queued for a page: it has a place in the log of events,
// which is bounded, and is told when it has fallen behind.
func (c *console) live(w http.ResponseWriter, r *http.Request) {
	select {
	case c.seats <- struct{}{}:
		defer func() { <-c.seats }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many consoles are open", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	s := newStream(w)
	after, known := c.place(r)
	s.retry(time.Second)
	s.send("hello", "", map[string]any{"fresh": !known})
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		events, more := c.Events(after)
		after = c.tell(s, after, events)
		s.state(c.State())
		if s.flush() != nil {
			return // the page has gone, or does not read
		}
		if !wait(r, time.After(breath)) {
			return
		}
		select {
		case <-more:
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func wait(r *http.Request, until <-chan time.Time) bool {
	select {
	case <-until:
		return true
	case <-r.Context().Done():
		return false
	}
}

// place returns the number of the last event that the page has seen, and
// whether that number is one of ours.
func (c *console) place(r *http.Request) (after int, known bool) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		id = r.URL.Query().Get("after")
	}
	epoch, number, _ := strings.Cut(id, "-")
	after, err := strconv.Atoi(number)
	if err != nil || after < 0 || epoch != c.epoch {
		return 0, false
	}
	return after, true
}

// A happening is an event as the page gets it.
type happening struct {
	cloudtest.Event
	Text string `json:"text,omitempty"`
}

// tell sends the newest of events, says how many it leaves out, and returns
// the number of the last.
func (c *console) tell(s *stream, after int, events []cloudtest.Event) int {
	if len(events) == 0 {
		return after
	}
	events = events[max(0, len(events)-maxBacklog):]
	if missed := events[0].Seq - after - 1; missed > 0 && after > 0 {
		s.send("missed", "", map[string]int{"events": missed})
	}
	for _, e := range events {
		s.send("happened", c.epoch+"-"+strconv.Itoa(e.Seq), happening{e, e.Text})
		after = e.Seq
	}
	return after
}
