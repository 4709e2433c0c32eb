package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

const (
	maxStreams = 32               // of events that are open at once
	patience   = 10 * time.Second // for a reader that does not read
)

// events streams the kept events and then each new one; ?follow=0 ends before
// that, ?after=N leaves out what has been seen.
func (a *admin) events(w http.ResponseWriter, r *http.Request) {
	defer a.streams.Add(-1)
	if a.streams.Add(1) > maxStreams {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many streams of events are open", http.StatusServiceUnavailable)
		return
	}
	seq, _ := strconv.Atoi(r.URL.Query().Get("after"))
	w.Header().Set("Content-Type", "application/x-ndjson")
	ctl, out := http.NewResponseController(w), json.NewEncoder(w)
	for {
		events, more := a.cloud.Events(seq)
		for _, e := range events {
			_ = ctl.SetWriteDeadline(time.Now().Add(patience)) // where the connection has one
			if out.Encode(e) != nil {
				return // the reader has gone, or does not read
			}
			seq = e.Seq
		}
		_ = ctl.SetWriteDeadline(time.Now().Add(patience))
		if ctl.Flush() != nil || r.URL.Query().Get("follow") == "0" {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}
