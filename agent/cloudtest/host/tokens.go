package host

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"sync"
	"time"
)

// Tokens are those that a cloud has given out, with their owners. The cloud,
// not a token's claims, decides when it ends.
type Tokens[T any] struct {
	host *Host
	late time.Duration // for which a token works after its expiry
	mu   sync.Mutex
	all  map[string]*issued[T]
}

type issued[T any] struct {
	owner   T
	expires time.Time
	dead    bool
}

// NewTokens returns no tokens, of the cloud at h. A token works until late
// after its expiry: a second where exp itself is still good and nobody looks
// at fractions.
func NewTokens[T any](h *Host, late time.Duration) *Tokens[T] {
	return &Tokens[T]{host: h, late: late, all: map[string]*issued[T]{}}
}

// Put adds a token, or gives one another owner and expiry.
func (t *Tokens[T]) Put(text string, owner T, expires time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[text] = &issued[T]{owner: owner, expires: expires}
}

// Extend moves a token's expiry.
func (t *Tokens[T]) Extend(text string, expires time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.all[text]; i != nil {
		i.expires = expires
	}
}

// Known returns the owner of a token that is not dead, though it may have
// expired.
func (t *Tokens[T]) Known(text string) (owner T, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.all[text]; i != nil && !i.dead {
		return i.owner, true
	}
	return owner, false
}

// Admit returns the owner of a token that works now.
func (t *Tokens[T]) Admit(text string) (owner T, valid bool) {
	now := t.host.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.all[text]
	if i == nil || i.dead || !now.Before(i.expires.Add(t.late)) {
		return owner, false
	}
	return i.owner, true
}

// Valid reports whether the API would take a token now.
func (t *Tokens[T]) Valid(text string) bool { _, ok := t.Admit(text); return ok }

// Expires returns when a token of the cloud's ends, by its clock; zero for
// other tokens.
func (t *Tokens[T]) Expires(text string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.all[text]; i != nil {
		return i.expires
	}
	return time.Time{}
}

// Revoke makes the cloud refuse a token from now on.
func (t *Tokens[T]) Revoke(text string) {
	t.mu.Lock()
	i := t.all[text]
	if i != nil {
		i.dead = true
	}
	t.mu.Unlock()
	if i != nil {
		t.host.Note(Event{Kind: KindRevoke, Token: Tail(text)})
	}
}

// RevokeAll makes the cloud refuse every token whose owner match finds.
func (t *Tokens[T]) RevokeAll(match func(T) bool) {
	t.mu.Lock()
	for _, i := range t.all {
		i.dead = i.dead || match(i.owner)
	}
	t.mu.Unlock()
	t.host.Note(Event{Kind: KindRevoke})
}

// maxObject bounds the body of a login.
const maxObject = 64 << 10

// Object decodes a request's body, which must be one JSON object and say so.
func Object(r *http.Request) (fields map[string]any, ok bool) {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		return nil, false
	}
	d := json.NewDecoder(io.LimitReader(r.Body, maxObject))
	if d.Decode(&fields) != nil || fields == nil {
		return nil, false
	}
	_, err := d.Token()
	return fields, err == io.EOF
}

// Text returns a member of an object that is a string, empty if it is none.
func Text(fields map[string]any, name string) string {
	text, _ := fields[name].(string)
	return text
}
