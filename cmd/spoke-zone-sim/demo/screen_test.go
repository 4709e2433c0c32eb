package demo

import (
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

func TestScreenTellsEventsInWords(t *testing.T) {
	for _, tt := range []struct {
		event cloudtest.Event
		want  string
	}{
		{cloudtest.Event{Kind: cloudtest.EventLogin, Status: 201, Token: "…abc"}, "POST /loginDevice with token …abc: 201, a new one"},
		{cloudtest.Event{Kind: cloudtest.EventLogin, Status: 200, Token: "…abc"}, "POST /loginDevice with token …abc: 200, still good"},
		{cloudtest.Event{Kind: cloudtest.EventLogin, Status: 503, Token: "…abc"}, "POST /loginDevice with token …abc: 503"},
		{cloudtest.Event{Kind: cloudtest.EventConnect, Token: "…abc"}, "CONNECT with token …abc: accepted"},
		{cloudtest.Event{Kind: cloudtest.EventConnect, Status: 5, Token: "…abc"}, "CONNECT with token …abc: refused with code 5"},
		{cloudtest.Event{Kind: cloudtest.EventDownload, Offset: 10, Size: 5}, "GET the release: bytes 10 to 15"},
		{cloudtest.Event{Kind: cloudtest.EventUpload, ID: 101, Size: 5}, "POST data file 101: 5 bytes"},
		{cloudtest.Event{Kind: cloudtest.EventForbidden, Topic: "mon/d/1/ctrl/#", Why: "subscribe"}, "SUBSCRIBE mon/d/1/ctrl/#: the broker does not permit it, and need not"},
		{cloudtest.Event{Kind: cloudtest.EventForbidden, Topic: "x/y", Why: "publish"}, "ALARM forbidden x/y publish"},
		{cloudtest.Event{Kind: cloudtest.EventLeak, Why: "a token"}, "ALARM leak  a token"},
		{cloudtest.Event{Kind: cloudtest.EventRequest}, ""},
	} {
		if got := new(screen).line(tt.event); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.event.Kind, got, tt.want)
		}
	}
}

func TestMarksComeAfterTheirEvent(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, start: time.Now()}
	s.mark(2, "second")
	s.toldTo(1)
	if out.Len() > 0 {
		t.Fatalf("told before its event: %q", out.String())
	}
	s.toldTo(2)
	s.mark(1, "late")
	if got := out.String(); strings.Count(got, "-- ok:") != 2 || strings.Index(got, "second") > strings.Index(got, "late") {
		t.Fatalf("got %q", got)
	}
}
