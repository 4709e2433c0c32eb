// Package ota keeps the releases that a device's modules should run at hand:
// chosen from the cloud's catalogue, fetched, verified and ready to install.
package ota

import (
	"context"
	"io"
	"net/http"
	"time"
)

// A Response is the reply to a request for a release's contents, whatever its
// status.
type Response struct {
	Status int
	Header http.Header
	Body   io.ReadCloser
	URL    string // where it came from, after redirects
	// ToClose says that the body has no length and no last chunk: it ends where
	// the connection ends, which proves nothing.
	ToClose bool
}

// A Source is where releases come from. Both functions make one attempt; an
// expired token is renewed inside them. Of their errors, one that has HTTPStatus
// and RetryAfter methods is taken as a reply of that status.
type Source struct {
	// List returns limit releases of the catalogue from offset on, fewer at its
	// end. It may return releases of other modules and inactive ones.
	List func(ctx context.Context, module string, limit, offset int) ([]File, error)
	// Open asks for the contents of a release with the header given. Cancelling
	// ctx ends the reading of the body, too.
	Open func(ctx context.Context, id string, header http.Header) (Response, error)
}

// statusError is the shape of an error that is a reply.
type statusError interface {
	error
	HTTPStatus() int
	RetryAfter() time.Duration // 0 if the server did not say
}
