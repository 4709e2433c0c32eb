package cloudtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

func TestDeviceReadsItself(t *testing.T) {
	g := newGateway(t, Options{})
	other := g.cloud.AddDevice(Device{})
	a := g.get(fmt.Sprintf("/api/v2/devices/%d", g.ID))
	a.want(t, 200)
	o := a.object(t)
	if o["id"] != float64(g.ID) || o["identifier"] != g.Identifier || o["serialNumber"] != nil || o["softwareVersions"] != nil {
		t.Errorf("got %s", a.Body)
	}
	g.get(fmt.Sprintf("/api/v2/devices/%d", other.ID)).want(t, 403, "not-authorized")
	g.get("/api/v2/devices/999").want(t, 404, "entity-not-found")
	g.get("/api/v2/devices/x").want(t, 404)
	if !strings.HasPrefix(other.Base, "mrs/d/") || len(g.cloud.Devices()) != 2 {
		t.Errorf("got devices %+v", g.cloud.Devices())
	}
}

func TestUnknownEndpointsAreRefusedInTheFormOfV2(t *testing.T) {
	g := newGateway(t, Options{})
	for _, path := range []string{"/api/v2/nothing", "/api/v2/devices/1/secret", "/"} {
		a := g.get(path)
		a.want(t, 404)
		if got := a.errorTypes(t); got != "entity-not-found" {
			t.Errorf("%s: got errors %q", path, got)
		}
	}
	g.post("/api/v2/ota-files", "{}").want(t, 404)
}

func TestEveryAnswerHasADate(t *testing.T) {
	g := newGateway(t, Options{})
	for _, a := range []answer{g.login(), g.get("/api/v2/ota-files"), g.get("/nowhere")} {
		if a.Header.Get("Date") == "" {
			t.Errorf("got no Date with status %d", a.Status)
		}
	}
}

func TestInterceptAnswersFirst(t *testing.T) {
	g := newGateway(t, Options{})
	g.cloud.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/loginDevice" {
			w.WriteHeader(http.StatusTeapot)
			return true
		}
		return false
	})
	g.login().want(t, 418)
	g.get("/api/v2/ota-files").want(t, 200)
	g.cloud.Intercept(nil)
	g.login().want(t, 200)
}

func TestEventsTellWhatHappenedAndNoToken(t *testing.T) {
	g := newGateway(t, Options{})
	g.login()
	g.get("/api/v2/ota-files?limit=5")
	e, err := g.cloud.WaitFor(t.Context(), 0, func(e Event) bool { return e.Kind == EventRequest && e.Op == "ota-list" })
	if err != nil || e.Status != 200 || !strings.HasSuffix(e.Path, "?limit=5") {
		t.Errorf("got %+v, %v", e, err)
	}
	events, more := g.cloud.Events(0)
	if len(events) < 3 || events[0].Seq != 1 {
		t.Fatalf("got %+v", events)
	}
	select {
	case <-more:
		t.Error("got a change; want none before the next event")
	default:
	}
	text, err := json.Marshal(events)
	if err != nil || strings.Contains(string(text), g.token) {
		t.Errorf("got a whole token in the events, error %v", err)
	}
	last := events[len(events)-1].Seq
	g.login()
	<-more
	if events, _ = g.cloud.Events(last); len(events) == 0 || events[0].Seq != last+1 {
		t.Errorf("got %+v after %d", events, last)
	}
	if got := g.cloud.Counts()[EventLogin]; got != 2 {
		t.Errorf("got %d logins counted; want 2", got)
	}
	g.cloud.Close()
	if _, err := g.cloud.WaitFor(t.Context(), 1<<30, func(Event) bool { return true }); err != ErrClosed {
		t.Errorf("got %v; want ErrClosed", err)
	}
}

func TestEventLogIsBounded(t *testing.T) {
	c := New(Options{})
	defer c.Close()
	for range 5 * host.RingSize {
		c.record(Event{Kind: EventFault})
	}
	events, _ := c.Events(0)
	if len(events) < host.RingSize || len(events) > 2*host.RingSize || events[len(events)-1].Seq != 5*host.RingSize {
		t.Errorf("got %d events up to %d", len(events), events[len(events)-1].Seq)
	}
	if got, _ := c.Events(5*host.RingSize - 3); len(got) != 3 {
		t.Errorf("got %d events; want the last 3", len(got))
	}
	if got := c.Counts()[EventFault]; got != 5*host.RingSize {
		t.Errorf("got a count of %d; want all of them", got)
	}
}

func TestDeprecatedEndpoints(t *testing.T) {
	g := newGateway(t, Options{})
	id := g.cloud.Offer("display", "1.3.0", Bytes([]byte("firmware")))
	g.get("/api/v1/deviceUser/read-only/models/firmware").want(t, 200, `"firmware_id":7`, `"version_number":"1.3.0"`)
	g.get(fmt.Sprintf("/api/v1/deviceUser/read-only/models/firmware/%d", id)).want(t, 200, "firmware")
	form := "--b\r\nContent-Disposition: form-data; name=%q%s\r\n\r\n%s\r\n"
	body := fmt.Sprintf(form, "deviceId", "", fmt.Sprint(g.ID)) + fmt.Sprintf(form, "uploadType", "", "log") +
		fmt.Sprintf(form, "files", `; filename="a"`, "%s") + "--b--\r\n"
	send := func(content string) answer {
		return g.do("POST", "/api/v1/deviceUser/read-only/saveLogFile", strings.NewReader(fmt.Sprintf(body, content)),
			"Content-Type", "multipart/form-data; boundary=b")
	}
	send("text").want(t, 200, `"id":101`, `"path"`)
	send("").want(t, 400, "File is empty")
	if got := g.cloud.Uploads(); len(got) != 1 || string(got[0].Content) != "text" {
		t.Errorf("got %+v", got)
	}
}
