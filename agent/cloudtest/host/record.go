package host

import (
	"net/http"
	"slices"
)

// A Ring keeps the newest values, some thousands; its zero value is empty.
type Ring[T any] struct{ kept []T }

// RingSize is how many of the newest values a Ring keeps at least.
const RingSize = 4096

// Add appends v and drops the oldest values in time.
func (r *Ring[T]) Add(v T) {
	if len(r.kept) >= 2*RingSize {
		r.kept = slices.Clone(r.kept[RingSize:])
	}
	r.kept = append(r.kept, v)
}

// All returns a copy of the values, oldest first.
func (r *Ring[T]) All() []T { return slices.Clone(r.kept) }

// Kept returns the values themselves, oldest first, until the next Add.
func (r *Ring[T]) Kept() []T { return r.kept }

// A Recorder remembers the status of an answer.
type Recorder struct {
	http.ResponseWriter
	Status int // 0 until the answer begins
}

// WriteHeader is the http.ResponseWriter's.
func (r *Recorder) WriteHeader(status int) {
	if r.Status == 0 {
		r.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write is the http.ResponseWriter's.
func (r *Recorder) Write(p []byte) (int, error) {
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *Recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Nowhere takes an answer that nobody will see.
type Nowhere struct{ header http.Header }

// Header is the http.ResponseWriter's.
func (n *Nowhere) Header() http.Header {
	if n.header == nil {
		n.header = http.Header{}
	}
	return n.header
}

// WriteHeader is the http.ResponseWriter's.
func (n *Nowhere) WriteHeader(int) {}

// Write is the http.ResponseWriter's.
func (n *Nowhere) Write(p []byte) (int, error) { return len(p), nil }
