package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// A record is one server-sent event.
type record struct{ kind, id, data string }

// A reader is a page that reads the stream.
type reader struct {
	http.ResponseWriter
	io.Writer
	records chan record
	leave   context.CancelFunc
	left    chan struct{}
}

func (r *reader) Write(p []byte) (int, error) { return r.Writer.Write(p) }
func (r *reader) Flush()                      {}

// read opens the stream in a bubble.
func read(t *testing.T, h http.Handler, last string) *reader {
	ctx, leave := context.WithCancel(context.Background())
	in, out := io.Pipe()
	r := &reader{ResponseWriter: httptest.NewRecorder(), Writer: out, records: make(chan record, 10000), leave: leave, left: make(chan struct{})}
	request := httptest.NewRequest("GET", "/live", http.NoBody).WithContext(ctx)
	request.Host = "localhost"
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	go func() {
		defer close(r.left)
		h.ServeHTTP(r, request)
		out.Close()
	}()
	go r.scan(in)
	t.Cleanup(leave)
	return r
}

func (r *reader) scan(in io.Reader) {
	var one record
	for s := bufio.NewScanner(in); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ": ")
		switch name {
		case "event":
			one.kind = value
		case "id":
			one.id = value
		case "data":
			one.data = value
		case "":
			if s.Text() != "" {
				one = record{kind: "comment", data: value}
			}
			if one.kind != "" {
				r.records <- one
			}
			one = record{}
		}
	}
}

// now returns what came until everything stands still.
func (r *reader) now() (all []record) {
	synctest.Wait()
	for {
		select {
		case one := <-r.records:
			if one.kind != "" {
				all = append(all, one)
			}
		default:
			return all
		}
	}
}

func kinds(all []record) string {
	var names []string
	for _, r := range all {
		names = append(names, r.kind)
	}
	return strings.Join(names, " ")
}

// live returns a console over a cloud, whose state is what the function says.
func live(t *testing.T) (*cloudtest.Cloud, func(map[string]any), http.Handler) {
	cloud := cloudtest.New(cloudtest.Options{})
	t.Cleanup(cloud.Close)
	var mu sync.Mutex
	state := map[string]any{}
	set := func(s map[string]any) {
		mu.Lock()
		defer mu.Unlock()
		state = s
	}
	get := func() map[string]any {
		mu.Lock()
		defer mu.Unlock()
		return state
	}
	return cloud, set, page(t, Options{Events: cloud.Events, State: get})
}

func TestStreamTellsWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, _, h := live(t)
		cloud.Tell(cloudtest.Event{Kind: "first"})
		r := read(t, h, "")
		if got := kinds(r.now()); got != "hello happened" {
			t.Fatalf("got %s", got)
		}
		time.Sleep(2*interval - breath/2) // the stream is not out of breath then
		cloud.Tell(cloudtest.Event{Kind: "second", Why: "a\nb: <c>\r\n\ndata: forged"})
		time.Sleep(interval) // it may be taking breath
		got := r.now()
		if len(got) != 1 || !strings.HasSuffix(got[0].id, "-2") {
			t.Fatalf("got %v", got)
		}
		var e cloudtest.Event
		if err := json.Unmarshal([]byte(got[0].data), &e); err != nil || e.Why != "a\nb: <c>\r\n\ndata: forged" {
			t.Errorf("got %q, %v", e.Why, err)
		}
		r.leave()
		<-r.left
	})
}

func TestStreamGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, _, h := live(t)
		for range 5 {
			cloud.Tell(cloudtest.Event{Kind: "x"})
		}
		first := read(t, h, "")
		all := first.now()
		first.leave()
		again := read(t, h, all[3].id) // hello and three events
		got := again.now()
		if kinds(got) != "hello happened happened" || got[0].data != `{"fresh":false}` || got[1].id != all[4].id {
			t.Errorf("after %s: got %v", all[3].id, got)
		}
		for _, other := range []string{"00000000-3", "3", "-3", "x", all[3].id + "9x", strings.Replace(all[3].id, "-", "--", 1)} {
			r := read(t, h, other)
			if got := r.now(); got[0].data != `{"fresh":true}` || len(got) != 6 {
				t.Errorf("after %q: got %v", other, got)
			}
			r.leave()
		}
	})
}

func TestStreamSendsThePartsThatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, set, h := live(t)
		set(map[string]any{"now": 1, "devices": []int{1}, "faults": "none"})
		r := read(t, h, "")
		if got := kinds(r.now()); got != "hello now devices faults" {
			t.Errorf("at first: got %s", got)
		}
		set(map[string]any{"now": 2, "devices": []int{1}, "faults": "none"})
		time.Sleep(2 * time.Second)
		if got := r.now(); len(got) != 0 {
			t.Errorf("only the clock went on: got %v", got)
		}
		set(map[string]any{"now": 3, "devices": []int{1, 2}, "faults": "none"})
		time.Sleep(2 * time.Second)
		if got := r.now(); kinds(got) != "now devices" || got[1].data != "[1,2]" {
			t.Errorf("got %v", got)
		}
		time.Sleep(beat + time.Second)
		if got := r.now(); kinds(got) != "comment" {
			t.Errorf("after long silence: got %v", got)
		}
	})
}

// TestStreamIsBounded has more happen than a page may be told at once, and a
// page that was away for longer than the log.
func TestStreamIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, _, h := live(t)
		for range 5 * maxBacklog {
			cloud.Tell(cloudtest.Event{Kind: "x"})
		}
		r := read(t, h, "")
		got := r.now()
		if len(got) != 1+maxBacklog || !strings.HasSuffix(got[len(got)-1].id, fmt.Sprint("-", 5*maxBacklog)) {
			t.Fatalf("got %d", len(got))
		}
		for range 2 * maxBacklog {
			cloud.Tell(cloudtest.Event{Kind: "x"})
		}
		time.Sleep(interval)
		got = r.now()
		if len(got) != 1+maxBacklog || got[0].kind != "missed" || got[0].data != fmt.Sprintf(`{"events":%d}`, maxBacklog) {
			t.Errorf("got %d, first %v", len(got), got[0])
		}
	})
}

func TestOnlySoManyPagesAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, h := live(t)
		var pages []*reader
		for range maxPages {
			pages = append(pages, read(t, h, ""))
		}
		synctest.Wait()
		if w := get(h, "/live"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("one page more: got %d", w.Code)
		}
		pages[0].leave()
		<-pages[0].left
		if got := kinds(read(t, h, "").now()); got != "hello" {
			t.Errorf("after one has gone: got %s", got)
		}
	})
}

// deaf is a page whose connection is broken.
type deaf struct{ *httptest.ResponseRecorder }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestStreamEndsWithItsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, h := live(t)
		r := httptest.NewRequest("GET", "/live", http.NoBody)
		r.Host = "localhost"
		h.ServeHTTP(deaf{httptest.NewRecorder()}, r) // returns
	})
}

func FuzzPlace(f *testing.F) {
	for _, id := range []string{"", "0-1", "00000000-5", "00000000--5", "00000000-99999999999999999999", "00000000-5-5"} {
		f.Add(id)
	}
	c := &console{epoch: "00000000"}
	f.Fuzz(func(t *testing.T, id string) {
		r := httptest.NewRequest("GET", "/live", http.NoBody)
		r.Header.Set("Last-Event-ID", id)
		after, known := c.place(r)
		if after < 0 || known && !strings.HasPrefix(id, "00000000-") || !known && after != 0 {
			t.Errorf("%q: got %d, %v", id, after, known)
		}
	})
}
