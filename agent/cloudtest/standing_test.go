package cloudtest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStandingFollowsTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{TokenLife: time.Hour})
		defer c.Close()
		d := c.AddDevice(Device{})
		if s, ok := c.Standing(d.ID); !ok || s.InUse != nil || s.Newest != nil || c.InUse(d.ID) != "" {
			t.Errorf("a new device: got %+v, %v", s, ok)
		}
		if _, ok := c.Standing(d.ID + 1); ok {
			t.Error("a device that is not there has a standing")
		}
		first := c.Issue(d.ID, 0)
		if s, _ := c.Standing(d.ID); s.InUse != nil || s.Newest.Tail != tail(first) || c.InUse(d.ID) != first {
			t.Errorf("a token that nobody has used: got %+v", s)
		}
		use := func(token string) {
			t.Helper()
			r, err := http.NewRequest("GET", c.Addrs().API+"/api/v2/ota-files", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Access-Token", token)
			resp, err := c.HTTPClient().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		use(first)
		second := c.Issue(d.ID, 2*time.Hour)
		s, _ := c.Standing(d.ID)
		if s.InUse.Tail != tail(first) || s.Newest.Tail != tail(second) || c.InUse(d.ID) != first {
			t.Errorf("a token that was given and not used: got %+v, %+v", s.InUse, s.Newest)
		}
		use(second)
		c.Revoke(second)
		if s, _ = c.Standing(d.ID); s.InUse.Tail != tail(second) || !s.InUse.Revoked || s.InUse.Expires.Sub(s.InUse.Issued) != 2*time.Hour {
			t.Errorf("a token that is revoked: got %+v", s.InUse)
		}
	})
}

func TestTransfersAreSeenWhileTheyLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{})
		defer c.Close()
		d := c.AddDevice(Device{})
		token := c.Issue(d.ID, 0)
		id := c.Offer("display", "1", Seeded(1, 1000))
		c.MustSet(SlowBody, Always.With(100))
		r, err := http.NewRequest("GET", c.Addrs().API+"/api/v2/ota-files/7/file", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Access-Token", token)
		r.Header.Set("Range", "bytes=200-")
		resp, err := c.HTTPClient().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got := c.Transfers()
		if len(got) != 1 || got[0].ID != id || got[0].Device != d.ID || got[0].Offset != 200 || got[0].Sent < 100 || got[0].Sent >= 800 {
			t.Errorf("got %+v", got)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := c.Transfers(); len(got) != 0 || c.Served(id) != 800 {
			t.Errorf("afterwards: got %+v, %d bytes", got, c.Served(id))
		}
	})
}

func TestMessagesForDevicesAreEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{})
		defer c.Close()
		d := c.AddDevice(Device{Base: "a/b"})
		if err := c.Command(d.ID, "reboot", []byte("now")); err != nil {
			t.Fatal(err)
		}
		if err := c.Publish(Message{Topic: "nobody/ctrl/x", Payload: []byte{0xff}}); err != nil {
			t.Fatal(err)
		}
		events, _ := c.Events(0)
		if len(events) != 2 || events[0].Kind != EventSent || events[0].Device != d.ID || events[0].Text != "now" || events[1].Device != 0 || events[1].Text != "" {
			t.Errorf("got %+v", events)
		}
	})
}

func TestPreviewIsTextThatIsWhole(t *testing.T) {
	for _, tt := range []struct{ name, payload, want string }{
		{"short", "hello", "hello"},
		{"empty", "", ""},
		{"binary", "a\xffb", ""},
		{"with a zero byte", "a\x00b", ""},
		{"of just the length", strings.Repeat("a", maxText), strings.Repeat("a", maxText)},
		{"cut between characters", strings.Repeat("a", maxText) + "b", strings.Repeat("a", maxText)},
		{"cut in a character", strings.Repeat("a", maxText-2) + "€uro", strings.Repeat("a", maxText-2)},
		{"ending in a broken character", strings.Repeat("a", 10) + "\xe2\x82", ""},
	} {
		if got := preview([]byte(tt.payload)); got != tt.want {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
}
