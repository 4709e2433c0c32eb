package cloudtest

import (
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

func ids(files []map[string]any) (all []int) {
	for _, f := range files {
		all = append(all, int(f["id"].(float64)))
	}
	return all
}

func TestReleaseIsListedAsDocumented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Options{})
		g.cloud.Offer("display", "1.3.0", Bytes([]byte("firmware")))
		got := g.list("?limit=50&offset=0&module=display&isActive=1")
		want := []map[string]any{{
			"id": 7.0, "modelId": 2.0, "moduleId": 3.0, "module": "display", "version": "1.3.0", "fileLocation": "/bin/7",
			"isActive": true, "createdDate": "2000-01-01T00:00:00Z", "releaseDate": "2000-01-01T00:00:00Z",
			"releaseNotes": "Release 1.3.0 of display.",
		}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	})
}

func TestListingFollowsItsQuery(t *testing.T) {
	g := newGateway(t, Options{})
	for i := range 6 {
		g.cloud.Offer([]string{"display", "engine"}[i%2], fmt.Sprintf("1.%d", 9-i), Bytes(nil))
	}
	g.cloud.Withdraw(9)
	for _, tt := range []struct {
		query string
		want  []int
	}{
		{"", []int{7, 8, 9, 10, 11, 12}},
		{"?module=display", []int{7, 9, 11}},
		{"?module=Display", nil},
		{"?module=display&isActive=1", []int{7, 11}},
		{"?module=display&isActive=0", []int{9}},
		{"?limit=2", []int{7, 8}},
		{"?limit=2&offset=4", []int{11, 12}},
		{"?limit=50&offset=6", nil},
		{"?sort=version&sortOrder=asc&limit=2", []int{12, 11}},
		{"?sort=id&sortOrder=desc&limit=2", []int{12, 11}},
		{"?searchTerm=1.4", []int{12}},
		{"?searchTerm=engine&searchFields=module,version", []int{8, 10, 12}},
		{"?searchTerm=engine&searchFields=version", nil},
	} {
		if got := ids(g.list(tt.query)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v; want %v", tt.query, got, tt.want)
		}
	}
	if a := g.get("/api/v2/ota-files?module=none"); string(a.Body) != "[]" {
		t.Errorf("got %s; want an empty array", a.Body)
	}
	g.cloud.Activate(9)
	if got := ids(g.list("?module=display&isActive=1")); !reflect.DeepEqual(got, []int{7, 9, 11}) {
		t.Errorf("got %v after Activate", got)
	}
}

func TestListingFaultsItsQuery(t *testing.T) {
	g := newGateway(t, Options{})
	for query, errors := range map[string]string{
		"isActive=true":           "invalid-field isActive",
		"isActive=":               "invalid-field isActive",
		"limit=0":                 "invalid-field limit",
		"limit=x":                 "invalid-field limit",
		"limit=101":               "limit-exceeded limit",
		"offset=-1":               "invalid-field offset",
		"module=":                 "invalid-field module",
		"sort=size":               "invalid-field sort",
		"sortOrder=up":            "invalid-field sortOrder",
		"searchFields=module,etc": "invalid-field searchFields",
		"moduleKey=display":       "unknown-field moduleKey",
		"limit=x&offset=y":        "invalid-field limit, invalid-field offset",
	} {
		a := g.get("/api/v2/ota-files?" + query)
		a.want(t, 400)
		if got := a.errorTypes(t); got != errors {
			t.Errorf("%s: got errors %q; want %q", query, got, errors)
		}
	}
}

func TestListingHoldsOnlyTheDevicesModules(t *testing.T) {
	g := newGateway(t, Options{})
	d := g.cloud.AddDevice(Device{Modules: []string{"engine"}})
	g.token = g.cloud.Issue(d.ID, 0)
	g.cloud.Offer("display", "1", Bytes(nil))
	id := g.cloud.Offer("engine", "1", Bytes(nil))
	if got := ids(g.list("")); !reflect.DeepEqual(got, []int{id}) {
		t.Errorf("got %v; want %v", got, id)
	}
}

func TestReleaseCanBeEdited(t *testing.T) {
	g := newGateway(t, Options{})
	id := g.cloud.Offer("display", "1", Bytes(nil))
	if !g.cloud.Edit(id, func(r *Release) { r.Notes, r.ID = "sha256=00", 99 }) {
		t.Fatal("got no such release")
	}
	if got := g.list("")[0]; got["releaseNotes"] != "sha256=00" || got["id"] != float64(id) {
		t.Errorf("got %v", got)
	}
	if g.cloud.Edit(99, func(*Release) {}) || g.cloud.Withdraw(99) || g.cloud.Replace(99, Bytes(nil)) {
		t.Error("got true for a release that is not there")
	}
	if got := g.cloud.Releases(); len(got) != 1 || got[0].Notes != "sha256=00" {
		t.Errorf("got %+v", got)
	}
}

func TestDownload(t *testing.T) {
	g := newGateway(t, Options{})
	id := g.cloud.Offer("display", "1", Bytes([]byte("0123456789")))
	path := fmt.Sprintf("/api/v2/ota-files/%d/file", id)
	whole := g.get(path)
	whole.want(t, 200)
	if string(whole.Body) != "0123456789" || whole.Header.Get("Content-Length") != "10" ||
		whole.Header.Get("Content-Type") != "application/octet-stream" || whole.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("got %q with %v", whole.Body, whole.Header)
	}
	etag, modified := whole.Header.Get("ETag"), whole.Header.Get("Last-Modified")
	for _, tt := range []struct {
		name    string
		headers []string
		status  int
		body    string
		content string // Content-Range
	}{
		{"rest", []string{"Range", "bytes=4-"}, 206, "456789", "bytes 4-9/10"},
		{"rest of the same file", []string{"Range", "bytes=4-", "If-Range", etag}, 206, "456789", "bytes 4-9/10"},
		{"rest of a file of that time", []string{"Range", "bytes=4-", "If-Range", modified}, 206, "456789", "bytes 4-9/10"},
		{"rest of another file", []string{"Range", "bytes=4-", "If-Range", `"another"`}, 200, "0123456789", ""},
		{"rest of a whole file", []string{"Range", "bytes=10-"}, 416, "", "bytes */10"},
		{"unchanged", []string{"If-None-Match", etag}, 304, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := g.get(path, tt.headers...)
			a.want(t, tt.status)
			if a.Status < 400 && string(a.Body) != tt.body || a.Header.Get("Content-Range") != tt.content {
				t.Errorf("got %q, %q; want %q, %q", a.Body, a.Header.Get("Content-Range"), tt.body, tt.content)
			}
		})
	}
	if got := g.cloud.Served(id); got != 10+6+6+6+10 {
		t.Errorf("got %d bytes served; want each sent byte counted", got)
	}
	e, err := g.cloud.WaitFor(t.Context(), 0, func(e Event) bool { return e.Kind == EventDownload && e.Offset == 4 })
	if err != nil || e.Size != 6 || e.ID != id || e.Device != g.ID {
		t.Errorf("got %+v, %v", e, err)
	}
	g.cloud.Replace(id, Bytes([]byte("abcdefghij")))
	a := g.get(path, "Range", "bytes=4-", "If-Range", etag)
	if a.want(t, 200); string(a.Body) != "abcdefghij" || a.Header.Get("Last-Modified") == modified {
		t.Errorf("got %q of %s; want the replaced content", a.Body, a.Header.Get("Last-Modified"))
	}
	g.cloud.Withdraw(id)
	g.get(path).want(t, 404, "entity-not-found", "ota-file")
	g.get("/api/v2/ota-files/99/file").want(t, 404)
	g.token = ""
	g.get(path).want(t, 401)
}

// A file of 256 MiB costs neither memory nor, when only its end is read, time.
func TestHugeReleaseIsSentFromItsSeed(t *testing.T) {
	const size = 256 << 20
	g := newGateway(t, Options{})
	id := g.cloud.Offer("display", "1", Seeded(1, size))
	start := time.Now()
	a := g.get(fmt.Sprintf("/api/v2/ota-files/%d/file", id), "Range", fmt.Sprintf("bytes=%d-", size-5))
	a.want(t, 206)
	if len(a.Body) != 5 || a.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", size-5, size-1, size) {
		t.Errorf("got %x, %s after %v", a.Body, a.Header.Get("Content-Range"), time.Since(start))
	}
}
