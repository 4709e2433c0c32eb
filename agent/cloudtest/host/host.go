// Package host is what the simulated clouds share: an HTTP host in memory or
// on a listener, with a clock, faults by name, and a record of what was asked
// of it. A cloud of its own package adds endpoints and faults to a Host.
//
// In memory a Host works inside a testing/synctest bubble, provided that New
// is called inside: nothing in it ticks while nothing happens.
package host

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// MemoryURL is where a Host without a listener is found. It is a loopback
// address because a client sends its secrets to nobody else without TLS.
const MemoryURL = "http://127.0.0.1"

// Options are what a Host cannot change later.
type Options struct {
	Name       string      // of the cloud, in errors
	Faults     []FaultInfo // of its own, beside Common
	Operations []string    // to which a Switch can be limited
	Hosts      []string    // names and addresses for its certificate
	Seed       uint64      // of the draws for faults with a probability
	// Operation, if not nil, says which operation a request is, where the
	// endpoint alone does not: it returns op, or another.
	Operation func(r *http.Request, op string) string
	// Before, if not nil, sees each request before any fault does, so that it
	// can set headers that every answer has. It returns false when it has
	// answered.
	Before func(w http.ResponseWriter, r *http.Request, op string) bool
}

// A Request is one that a Host was asked.
type Request struct {
	At     time.Time // by the Host's clock
	Op     string    // one of Options.Operations, or empty
	Method string
	Path   string // without its query, in which secrets may be
	Status int    // 0 if the connection was cut
	Inside bool   // it came although a rate limit's window was closed
}

// A Host is one simulated cloud's. Its methods may be called at any time, from
// any goroutine.
type Host struct {
	opt     Options
	rules   *Rules
	spoiler *Spoiler
	mux     *http.ServeMux
	serving *Serving

	mu       sync.Mutex
	memory   *PipeListener
	offset   time.Duration
	url      string
	cert     *Certificate
	windows  map[string]window // closed rate limits, by operation; "" for all
	counts   map[string]int
	times    map[string]*Ring[time.Time] // by kind of event
	requests Ring[Request]
	observe  func(Event)
}

// A window is the time in which a client was told not to ask.
type window struct{ from, until time.Time }

// New returns a Host without endpoints. Close must end it.
func New(opt Options) *Host {
	h := &Host{
		opt: opt, rules: NewRules(append(slices.Clone(Common), opt.Faults...), opt.Operations, opt.Seed),
		mux: http.NewServeMux(), serving: NewServing(), url: MemoryURL,
		windows: map[string]window{}, counts: map[string]int{}, times: map[string]*Ring[time.Time]{},
	}
	h.spoiler = &Spoiler{
		Rules: h.rules, Now: h.Now, Pause: h.serving.Pause, Closed: h.CloseWindow,
		Note:   func(op string, name Fault) { h.note(Event{Kind: KindFault, Op: op, Why: string(name)}) },
		Portal: func() string { return "http://127.0.0.2/portal" },
	}
	return h
}

// Handle adds an endpoint; op is the name by which a Switch finds it.
func (h *Host) Handle(pattern, op string, f http.HandlerFunc) {
	if op != "" && !slices.Contains(h.opt.Operations, op) {
		panic(fmt.Sprintf("cloudtest: %s: no operation %q", h.opt.Name, op))
	}
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, op, f) })
}

// ServeHTTP is the cloud's API.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.serving.Begin() {
		panic(http.ErrAbortHandler)
	}
	defer h.serving.End()
	h.mux.ServeHTTP(w, r)
}

func (h *Host) serve(w http.ResponseWriter, r *http.Request, op string, f http.HandlerFunc) {
	if h.opt.Operation != nil {
		op = h.opt.Operation(r, op)
	}
	r = r.WithContext(context.WithValue(r.Context(), opKey{}, op))
	rec := &Recorder{ResponseWriter: w}
	came := Request{At: h.Now(), Op: op, Method: r.Method, Path: r.URL.Path, Inside: h.inside(op)}
	defer func() {
		came.Status = rec.Status
		h.answered(came)
	}()
	if h.opt.Before == nil || h.opt.Before(rec, r, op) {
		h.spoiler.Serve(rec, r, op, f)
	}
}

// opKey is where a request's context holds the name of its operation.
type opKey struct{}

// Operation returns the name of a request's operation.
func Operation(r *http.Request) string {
	op, _ := r.Context().Value(opKey{}).(string)
	return op
}

// Reply answers with JSON, spoilt as the faults say.
func (h *Host) Reply(w http.ResponseWriter, r *http.Request, status int, v any) {
	h.spoiler.Reply(w, Operation(r), status, v)
}

// Set turns a fault on or off. It returns an error for an unknown fault, a bad
// argument or an unknown operation.
func (h *Host) Set(name Fault, s Switch) error {
	if err := h.rules.Set(name, s); err != nil {
		return fmt.Errorf("%s: %w", h.opt.Name, err)
	}
	if name == Unreachable && s.Certain() && !s.Limited() {
		h.Drop()
	}
	return nil
}

// MustSet is Set for tests, in which a bad switch is a mistake: it panics.
func (h *Host) MustSet(name Fault, s Switch) {
	if err := h.Set(name, s); err != nil {
		panic("cloudtest: " + err.Error())
	}
}

// Faults describes every fault of the cloud.
func (h *Host) Faults() []FaultInfo { return h.rules.Table() }

// Operations are the names by which a Switch can be limited to some requests.
func (h *Host) Operations() []string { return slices.Clone(h.opt.Operations) }

// Switches returns the position of every fault that is not off.
func (h *Host) Switches() map[Fault]string { return h.rules.Switches() }

// Hit decides whether the fault happens to this operation, and with what
// argument. It counts, so it is asked once for each chance.
func (h *Host) Hit(name Fault, op string) (arg string, happens bool) {
	arg, happens = h.rules.Roll(name, op)
	return arg, happens
}

// Now is the time that the cloud believes in.
func (h *Host) Now() time.Time { return time.Now().Add(h.Offset()) }

// SetOffset makes the cloud's clock differ from this machine's by d: the Date
// of its answers, the times in its tokens, and its view of their expiry.
func (h *Host) SetOffset(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offset = d
}

// Offset returns by how much the cloud's clock differs from this machine's.
func (h *Host) Offset() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.offset
}

// Close ends every connection and waits for all that the Host had started.
func (h *Host) Close() { h.serving.Close(h.Drop) }

// Drop cuts every connection.
func (h *Host) Drop() { h.serving.Drop() }

// Bearer returns the token of an Authorization header, empty if there is none.
func Bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
