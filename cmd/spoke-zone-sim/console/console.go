// Package console serves a page on which a person watches and rules the
// simulator: its devices, releases, data files, messages and faults.
//
// The page is embedded files, in plain HTML, CSS and JavaScript, and asks
// nobody but the simulator. What it does, it does by the admin API; what
// happens comes to it as server-sent events.
package console

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

const (
	maxBody   = 1 << 20   // bytes of a request
	maxUpload = 512 << 20 // bytes of a release
	maxPages  = 16        // that are open at once
)

// Options are what a page shows and rules.
type Options struct {
	// API is the admin API, which the page finds below /api/.
	API http.Handler
	// State is what the page shows, by parts. A part is sent again when it has
	// changed.
	State func() map[string]any
	// Events returns what happened after a number, and a channel that is closed
	// when something happens; it is (*cloudtest.Cloud).Events.
	Events func(after int) ([]cloudtest.Event, <-chan struct{})
	// Hosts are names by which the page may be called, beside addresses and
	// localhost. A name that is none of these may be anybody's who lets it
	// point here.
	Hosts []string
	// Anywhere allows addresses that are no loopback ones.
	Anywhere bool
}

type console struct {
	Options
	epoch string        // of the numbers of events: another simulator's are others
	seats chan struct{} // holds one element for each page that is open
}

// New returns the page, and all that it asks for.
func New(o Options) http.Handler {
	epoch := make([]byte, 4)
	rand.Read(epoch) // never fails
	c := &console{Options: o, epoch: hex.EncodeToString(epoch), seats: make(chan struct{}, maxPages)}
	mux := http.NewServeMux()
	mux.Handle("/", pages())
	mux.HandleFunc("GET /live", c.live)
	mux.Handle("/api/", http.StripPrefix("/api", bounded(o.API)))
	return c.guard(mux)
}

// bounded lets no request be larger than it has to be.
func bounded(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := int64(maxBody)
		if r.URL.Path == "/ota" {
			limit = maxUpload
		}
		if r.ContentLength > limit {
			http.Error(w, "that is too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		w.Header().Set("Cache-Control", "no-store")
		api.ServeHTTP(w, r)
	})
}
