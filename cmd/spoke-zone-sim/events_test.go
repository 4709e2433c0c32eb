package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

func TestOnlySoManyStreamsOfEventsAreServed(t *testing.T) {
	s := start(t)
	follow := func() *http.Response {
		t.Helper()
		resp, err := http.Get(s.Admin + "/events")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	var first *http.Response
	for range maxStreams {
		if first = follow(); first.StatusCode != http.StatusOK {
			t.Fatalf("got %s", first.Status)
		}
	}
	resp := follow()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("one stream more: got %s", resp.Status)
	}
	if body, _ := io.ReadAll(resp.Body); resp.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "too many") {
		t.Errorf("one stream more: got %s: %s", resp.Status, body)
	}
	first.Body.Close()
	for end := time.Now().Add(10 * time.Second); follow().StatusCode != http.StatusOK; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("after one has gone: none is served")
		}
	}
}

// A piped is the answer on a connection whose other end may not read.
type piped struct {
	http.ResponseWriter
	net.Conn
}

func (p piped) Write(b []byte) (int, error) { return p.Conn.Write(b) }
func (p piped) Flush()                      {}

func TestEventsAreNotKeptForAReaderThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		cloud.Tell(cloudtest.Event{Kind: "x"})
		ours, theirs := net.Pipe()
		defer theirs.Close()
		a := &admin{cloud: cloud}
		began := time.Now()
		a.events(piped{httptest.NewRecorder(), ours}, httptest.NewRequest("GET", "/events", http.NoBody))
		if d := time.Since(began); d != patience || a.streams.Load() != 0 {
			t.Errorf("ended after %v, %d streams are open", d, a.streams.Load())
		}
	})
}
