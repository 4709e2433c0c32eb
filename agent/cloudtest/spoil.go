package cloudtest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// opKey is where a request's context holds the name of its operation.
type opKey struct{}

func operation(r *http.Request) string {
	op, _ := r.Context().Value(opKey{}).(string)
	return op
}

// serve answers one request: the faults first, else h.
func (c *Cloud) serve(w http.ResponseWriter, r *http.Request, op string, h http.HandlerFunc) {
	r = r.WithContext(context.WithValue(r.Context(), opKey{}, op))
	rec := &recorder{ResponseWriter: w}
	defer func() {
		c.record(Event{Kind: EventRequest, Op: op, Method: r.Method, Path: r.URL.RequestURI(), Status: rec.status})
	}()
	c.setDate(rec, op)
	if c.spoil(rec, r, op) {
		return
	}
	c.mu.Lock()
	answer := c.answer
	c.mu.Unlock()
	if answer != nil && answer(rec, r) {
		return
	}
	if _, ok := c.hit(LostAnswer, op); ok {
		h(&nowhere{header: http.Header{}}, r)
		c.abort(LostAnswer, op)
	}
	h(rec, r)
}

// abort cuts the connection of the request being served.
func (c *Cloud) abort(name Fault, op string) {
	c.record(Event{Kind: EventFault, Op: op, Why: string(name)})
	panic(http.ErrAbortHandler)
}

func (c *Cloud) setDate(w http.ResponseWriter, op string) {
	now := c.Now()
	if arg, ok := c.hit(WrongDate, op); ok {
		d, _ := time.ParseDuration(arg)
		now = now.Add(d)
	}
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	if _, ok := c.hit(NoDate, op); ok {
		w.Header()["Date"] = nil // net/http then leaves it out
	}
}

// spoil answers instead of the API when a fault says so, and reports it.
func (c *Cloud) spoil(w http.ResponseWriter, r *http.Request, op string) bool {
	if _, ok := c.hit(Unreachable, op); ok {
		c.abort(Unreachable, op)
	}
	if arg, ok := c.hit(Latency, op); ok {
		d, _ := time.ParseDuration(arg)
		if !c.pause(r.Context(), d) {
			c.abort(Latency, op)
		}
	}
	for _, s := range spoilers {
		if arg, ok := c.hit(s.fault, op); ok {
			c.record(Event{Kind: EventFault, Op: op, Why: string(s.fault)})
			s.answer(c, w, r, arg)
			return true
		}
	}
	return false
}

// spoilers answer instead of the API, the first that is on.
var spoilers = []struct {
	fault  Fault
	answer func(c *Cloud, w http.ResponseWriter, r *http.Request, arg string)
}{
	{CaptivePortal, func(c *Cloud, w http.ResponseWriter, r *http.Request, arg string) {
		if arg == "redirect" {
			http.Redirect(w, r, c.Addrs().Files+"/portal", http.StatusFound)
			return
		}
		page(w, http.StatusOK, "Welcome! Accept our terms to go online.")
	}},
	{TooManyRequests, func(_ *Cloud, w http.ResponseWriter, _ *http.Request, arg string) {
		if d, err := time.ParseDuration(arg); err == nil {
			w.Header().Set("Retry-After", strconv.Itoa(int(d.Seconds())))
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}},
	{ServerError, func(_ *Cloud, w http.ResponseWriter, _ *http.Request, arg string) {
		status, _ := strconv.Atoi(arg)
		http.Error(w, "upstream connect error or disconnect/reset before headers", status)
	}},
	{HTMLError, func(_ *Cloud, w http.ResponseWriter, _ *http.Request, arg string) {
		status, _ := strconv.Atoi(arg)
		page(w, status, http.StatusText(status))
	}},
}

func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<html>\r\n<head><title>%[1]s</title></head>\r\n<body><h1>%[1]s</h1><hr>nginx</body>\r\n</html>\r\n", text)
}

// A recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// nowhere takes an answer that nobody will see.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
