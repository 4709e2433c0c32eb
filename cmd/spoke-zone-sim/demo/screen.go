package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// A screen tells what happens, one line an event, in order.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
	told  int          // number of the last event that was told
	marks []markedLine // to be told after an event that has not been told yet
	// address of the console.
	address string
}

type markedLine struct {
	after int
	text  string
}

func (s *screen) say(who, format string, args ...any) { s.sayAt(time.Now(), who, format, args...) }

func (s *screen) sayAt(at time.Time, who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.2f s  %-8s %s\n", at.Sub(s.start).Seconds(), who, fmt.Sprintf(format, args...))
}

// console tells where to look at all of it.
func (s *screen) console(address string) {
	s.mu.Lock()
	s.address = address
	s.mu.Unlock()
	s.say("", "-- watch and rule all of it at %s", address)
}

// where returns the address of the console, once it is known.
func (s *screen) where() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// mark tells that an act is over, after the event that ended it.
func (s *screen) mark(after int, name string) {
	s.mu.Lock()
	s.marks = append(s.marks, markedLine{after, "ok: " + name})
	s.mu.Unlock()
	s.toldTo(0)
}

// toldTo notes the last event that was told, and tells the marks that are due.
func (s *screen) toldTo(seq int) {
	s.mu.Lock()
	s.told = max(s.told, seq)
	due := 0
	for due < len(s.marks) && s.marks[due].after <= s.told {
		due++
	}
	lines := s.marks[:due]
	s.marks = s.marks[due:]
	s.mu.Unlock()
	for _, l := range lines {
		s.say("", "-- %s", l.text)
	}
}

// follow tells the cloud's events until ctx is done.
func (s *screen) follow(ctx context.Context, cloud *cloudtest.Cloud) {
	for seq := 0; ; {
		events, more := cloud.Events(seq)
		for _, e := range events {
			seq = e.Seq
			if text := s.line(e); text != "" {
				s.sayAt(e.At, "gateway", "%s", text)
			}
			s.toldTo(seq)
		}
		select {
		case <-ctx.Done():
			return
		case <-more:
		}
	}
}

// line is an event in words; "" for what would only fill the screen.
func (s *screen) line(e cloudtest.Event) string {
	switch e.Kind {
	case cloudtest.EventLogin:
		switch e.Status {
		case http.StatusCreated:
			return fmt.Sprintf("POST /loginDevice with token %s: 201, a new one", e.Token)
		case http.StatusOK:
			return fmt.Sprintf("POST /loginDevice with token %s: 200, still good", e.Token)
		}
		return fmt.Sprintf("POST /loginDevice with token %s: %d", e.Token, e.Status)
	case cloudtest.EventConnect:
		if e.Status != 0 {
			return fmt.Sprintf("CONNECT with token %s: refused with code %d", e.Token, e.Status)
		}
		return fmt.Sprintf("CONNECT with token %s: accepted", e.Token)
	case cloudtest.EventDisconnect:
		return "MQTT connection ended"
	case cloudtest.EventSubscribe:
		return "SUBSCRIBE " + e.Topic
	case cloudtest.EventPublish:
		return fmt.Sprintf("PUBLISH %s, %d bytes", e.Topic, e.Size)
	case cloudtest.EventDownload:
		return fmt.Sprintf("GET the release: bytes %d to %d", e.Offset, e.Offset+e.Size)
	case cloudtest.EventUpload:
		return fmt.Sprintf("POST data file %d: %d bytes", e.ID, e.Size)
	case cloudtest.EventForbidden, cloudtest.EventLeak:
		if e.Why == "subscribe" { // to the topics of the one page that names others
			return fmt.Sprintf("SUBSCRIBE %s: the broker does not permit it, and need not", e.Topic)
		}
		return "ALARM " + e.Kind + " " + e.Topic + " " + e.Why
	}
	return ""
}
