package cloudtest

import (
	"context"
	"net/http"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// opKey is where a request's context holds the name of its operation.
type opKey struct{}

func operation(r *http.Request) string {
	op, _ := r.Context().Value(opKey{}).(string)
	return op
}

// newSpoiler makes the faults of every cloud happen to c.
func (c *Cloud) newSpoiler() *host.Spoiler {
	return &host.Spoiler{
		Rules: c.faults, Now: c.Now, Pause: c.serving.Pause,
		Note:   func(op string, name Fault) { c.record(Event{Kind: EventFault, Op: op, Why: string(name)}) },
		Portal: func() string { return c.Addrs().Files + "/portal" },
	}
}

// serve answers one request: the faults first, else h.
func (c *Cloud) serve(w http.ResponseWriter, r *http.Request, op string, h http.HandlerFunc) {
	r = r.WithContext(context.WithValue(r.Context(), opKey{}, op))
	rec := &host.Recorder{ResponseWriter: w}
	defer func() {
		c.record(Event{Kind: EventRequest, Op: op, Method: r.Method, Path: r.URL.RequestURI(), Status: rec.Status})
	}()
	c.spoiler.Serve(rec, r, op, func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		answer := c.answer
		c.mu.Unlock()
		if answer == nil || !answer(w, r) {
			h(w, r)
		}
	})
}
