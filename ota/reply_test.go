package ota

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func stamp(t time.Time) string { return t.Format(http.TimeFormat) }

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestDecide(t *testing.T) {
	const place = "https://cloud.example/file/7"
	const here, N, T = place + "?signature=1", 1_000_000, 5_000_000
	at := checkpoint{Offset: N, Total: T, Mark: validator{ETag: `"v1"`}, URLKey: urlKey(place)}
	bare := checkpoint{Offset: N, Total: T, URLKey: urlKey(place)}
	dated := checkpoint{Offset: N, Total: T, Mark: validator{Modified: stamp(noon)}, URLKey: urlKey(place)}
	open := checkpoint{Offset: N, Total: -1, URLKey: urlKey(place)}
	fresh := newAsk(checkpoint{Total: -1}, false, false, 1<<30)
	resume := newAsk(at, false, false, 1<<30)
	overlapped := newAsk(bare, false, false, 1<<30)
	resumeDated := newAsk(dated, false, false, 1<<30)
	resumeOpen := newAsk(open, false, false, 1<<30)
	tagged := newAsk(checkpoint{Offset: N, Total: -1, Mark: validator{ETag: `"v1"`}, URLKey: urlKey(place)}, false, false, 1<<30)
	from := func(first int) string { return fmt.Sprintf("bytes %d-%d/%d", first, T-1, T) }

	tests := []struct {
		name   string
		ask    ask
		status int
		header http.Header
		want   verdict
		why    string
	}{
		{"200 to the first request", fresh, 200, header("Content-Length", "42", "ETag", `"v1"`), verdict{action: rewrite, total: 42, end: 42, mark: validator{ETag: `"v1"`}}, ""},
		{"200 of unknown length", fresh, 200, header(), verdict{action: rewrite, total: -1, end: -1}, ""},
		{"200 on resume", resume, 200, header("Content-Length", "42", "ETag", `"v2"`), verdict{action: rewrite, total: 42, end: 42, mark: validator{ETag: `"v2"`}}, ""},
		{"200 with an empty body", fresh, 200, header("Content-Length", "0"), verdict{action: retry}, "empty"},
		{"200 with a silly length", fresh, 200, header("Content-Length", "12a"), verdict{action: retry}, "not a number"},
		{"200 with a negative length", fresh, 200, header("Content-Length", "-1"), verdict{action: retry}, "not a number"},
		{"200 of 10 GB", fresh, 200, header("Content-Length", "10000000000"), verdict{action: refuse}, "9.3 GiB (at most 1.0 GiB)"},
		{"200 with a web page", fresh, 200, header("Content-Type", "text/html; charset=utf-8"), verdict{action: retry}, "web page"},
		{"206 with a web page", resume, 206, header("Content-Range", from(N), "Content-Type", "TEXT/HTML"), verdict{action: retry}, "web page"},
		{"200 compressed all the same", fresh, 200, header("Content-Encoding", "gzip"), verdict{action: retry}, "gzip"},
		{"206 compressed all the same", resume, 206, header("Content-Range", from(N), "Content-Encoding", "identity, br"), verdict{action: retry}, "br"},
		{"200 said to be identity", fresh, 200, header("Content-Encoding", "Identity", "Content-Length", "1"), verdict{action: rewrite, total: 1, end: 1}, ""},

		{"206 as expected", resume, 206, header("Content-Range", from(N), "ETag", `"v1"`), verdict{action: proceed, total: T, end: T, mark: validator{ETag: `"v1"`}}, ""},
		{"206 without a validator", resume, 206, header("Content-Range", from(N)), verdict{action: proceed, total: T, end: T, mark: validator{ETag: `"v1"`}}, ""},
		{"206 of a part of it", resume, 206, header("Content-Range", "bytes 1000000-1999999/5000000"), verdict{action: proceed, total: T, end: 2_000_000, mark: validator{ETag: `"v1"`}}, ""},
		{"206 of unknown total", resume, 206, header("Content-Range", "bytes 1000000-4999999/*"), verdict{action: proceed, total: T, end: T, mark: validator{ETag: `"v1"`}}, ""},
		{"206 when the total was unknown", tagged, 206, header("Content-Range", from(N)), verdict{action: proceed, total: T, end: T, mark: validator{ETag: `"v1"`}}, ""},
		{"206 by date", resumeDated, 206, header("Content-Range", from(N), "Last-Modified", stamp(noon)), verdict{action: proceed, total: T, end: T, mark: validator{Modified: stamp(noon)}}, ""},
		{"206 by another date", resumeDated, 206, header("Content-Range", from(N), "Last-Modified", stamp(noon.Add(time.Hour))), verdict{action: restart}, "has changed"},
		{"206 with overlap", overlapped, 206, header("Content-Range", from(N-overlap)), verdict{action: proceed, total: T, end: T}, ""},
		{"206 with overlap and a new validator", overlapped, 206, header("Content-Range", from(N-overlap), "ETag", `"v3"`), verdict{action: proceed, total: T, end: T, mark: validator{ETag: `"v3"`}}, ""},
		{"206 from another start", resume, 206, header("Content-Range", from(N+1)), verdict{action: restart}, "from byte 1000001, not 1000000"},
		{"206 from the very start", resume, 206, header("Content-Range", from(0)), verdict{action: restart}, "from byte 0"},
		{"206 of another total", resume, 206, header("Content-Range", "bytes 1000000-5999999/6000000"), verdict{action: restart}, "6000000 bytes now, not 5000000"},
		{"206 beyond the total", resume, 206, header("Content-Range", "bytes 1000000-5999999/*"), verdict{action: restart}, "more than the file has"},
		{"206 with another tag", resume, 206, header("Content-Range", from(N), "ETag", `"v2"`), verdict{action: restart}, "has changed"},
		{"206 without Content-Range", resume, 206, header("Content-Type", "multipart/byteranges; boundary=x"), verdict{action: restart}, "which part"},
		{"206 with a broken Content-Range", resume, 206, header("Content-Range", "bytes 9-1/5"), verdict{action: restart}, "which part"},
		{"206 that nobody asked for, of all", fresh, 206, header("Content-Range", "bytes 0-41/42"), verdict{action: proceed, total: 42, end: 42}, ""},
		{"206 that nobody asked for, of the middle", fresh, 206, header("Content-Range", "bytes 5-41/42"), verdict{action: restart}, "from byte 5"},
		{"206 of 10 GB", tagged, 206, header("Content-Range", "bytes 1000000-9999999999/10000000000"), verdict{action: refuse}, "at most"},

		{"416 at the end", resumeOpen.at(N), 416, header("Content-Range", "bytes */1000000"), verdict{action: complete, total: N}, ""},
		{"416 with another total", resume, 416, header("Content-Range", "bytes */999"), verdict{action: restart}, "no such range"},
		{"416 without a total", resume, 416, header(), verdict{action: restart}, "no such range"},
		{"416 to an overlap", resumeOpen, 416, header("Content-Range", "bytes */1000000"), verdict{action: restart}, "no such range"},
		{"416 to nothing", fresh, 416, header("Content-Range", "bytes */0"), verdict{action: restart}, "no such range"},

		{"401 that renewing did not help", resume, 401, header(), verdict{action: wait}, "token is refused"},
		{"403", resume, 403, header(), verdict{action: relist}, "403"},
		{"404", resume, 404, header(), verdict{action: relist}, "404"},
		{"410", fresh, 410, header(), verdict{action: relist}, "410"},
		{"429", fresh, 429, header("Retry-After", "120"), verdict{action: wait, after: 2 * time.Minute}, "429"},
		{"429 without a time", fresh, 429, header(), verdict{action: wait}, "429"},
		{"429 for a year", fresh, 429, header("Retry-After", "31536000"), verdict{action: wait, after: 6 * time.Hour}, "429"},
		{"503 for no time", fresh, 503, header("Retry-After", "0"), verdict{action: wait, after: time.Second}, "503"},
		{"503 until a date", fresh, 503, header("Retry-After", stamp(noon.Add(time.Hour)), "Date", stamp(noon)), verdict{action: wait, after: time.Hour}, "503"},
		{"503 until a date, no Date", fresh, 503, header("Retry-After", stamp(noon.Add(time.Minute))), verdict{action: wait, after: time.Minute}, "503"},
		{"503 with nonsense", fresh, 503, header("Retry-After", "soon"), verdict{action: wait}, "503"},
		{"400", resume, 400, header(), verdict{action: refuse}, "400"},
		{"405", resume, 405, header(), verdict{action: refuse}, "405"},
		{"451", resume, 451, header(), verdict{action: refuse}, "451"},
		{"408", resume, 408, header(), verdict{action: retry}, "408"},
		{"500", resume, 500, header(), verdict{action: retry}, "500"},
		{"502 with a web page", resume, 502, header("Content-Type", "text/html"), verdict{action: retry}, "502"},
		{"599", resume, 599, header(), verdict{action: retry}, "599"},
		{"204", resume, 204, header(), verdict{action: retry}, "204"},
		{"302 that was not followed", resume, 302, header("Location", "http://elsewhere.example/"), verdict{action: retry}, "302"},
		{"no status", resume, 0, header(), verdict{action: retry}, "0"},
	}
	for _, test := range tests {
		got := decide(test.ask, Response{Status: test.status, Header: test.header, URL: here}, noon)
		why := got.why
		if got.action == proceed || got.action == rewrite {
			test.want.urlKey = urlKey(here)
		}
		if got.why = ""; got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
		if !strings.Contains(why, test.why) || (why == "") != (test.why == "") {
			t.Errorf("%s: got reason %q, want %q", test.name, why, test.why)
		}
	}

	moved := decide(resume, Response{Status: 206, Header: header("Content-Range", from(N)), URL: "https://mirror.example/file/7"}, noon)
	if moved.action != compare {
		t.Errorf("206 from another place: got %v, want an overlap to compare", moved)
	}
	unproven := decide(fresh, Response{Status: 200, Header: header(), ToClose: true, URL: here}, noon)
	if !unproven.open {
		t.Error("the end of a body without length is taken for proof")
	}
}

// at is a without its overlap.
func (a ask) at(n int64) ask { a.From = n; return a }

func TestRequestAsksForTheRest(t *testing.T) {
	at := func(offset int64, mark validator) checkpoint {
		return checkpoint{Offset: offset, Total: -1, Mark: mark}
	}
	tag, date := validator{ETag: `"x"`}, validator{Modified: stamp(noon)}
	for _, test := range []struct {
		name             string
		at               checkpoint
		noRange, compare bool
		rng, ifRange     string
	}{
		{"from the start", at(0, validator{}), false, false, "", ""},
		{"with a tag", at(100_000, tag), false, false, "bytes=100000-", `"x"`},
		{"with a date", at(100_000, date), false, false, "bytes=100000-", stamp(noon)},
		{"without a validator", at(100_000, validator{}), false, false, "bytes=34464-", ""},
		{"without a validator, little stored", at(100, validator{}), false, false, "bytes=0-", ""},
		{"to be compared", at(100_000, tag), false, true, "bytes=34464-", ""},
		{"no ranges here", at(100_000, tag), true, false, "", ""},
	} {
		h := newAsk(test.at, test.noRange, test.compare, 1).header()
		if got := h.Get("Range"); got != test.rng {
			t.Errorf("%s: Range %q, want %q", test.name, got, test.rng)
		}
		if got := h.Get("If-Range"); got != test.ifRange {
			t.Errorf("%s: If-Range %q, want %q", test.name, got, test.ifRange)
		}
		if got := h.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("%s: Accept-Encoding %q", test.name, got)
		}
	}
}

func TestValidatorsQualify(t *testing.T) {
	old, now := stamp(noon), stamp(noon.Add(time.Hour))
	for _, test := range []struct {
		name   string
		header http.Header
		want   validator
	}{
		{"none", header(), validator{}},
		{"strong tag", header("ETag", `"a-1"`, "Last-Modified", old, "Date", now), validator{ETag: `"a-1"`}},
		{"weak tag forbids the date, too", header("ETag", `W/"a"`, "Last-Modified", old, "Date", now), validator{}},
		{"bare word", header("ETag", `abc`), validator{}},
		{"quote inside", header("ETag", `"a"b"`), validator{}},
		{"control character", header("ETag", "\"a\x01\""), validator{}},
		{"endless tag", header("ETag", `"`+strings.Repeat("x", 500)+`"`), validator{}},
		{"old date", header("Last-Modified", old, "Date", now), validator{Modified: old}},
		{"date too fresh", header("Last-Modified", old, "Date", stamp(noon.Add(59*time.Second))), validator{}},
		{"date in the future", header("Last-Modified", now, "Date", old), validator{}},
		{"no Date", header("Last-Modified", old), validator{}},
		{"no date", header("Last-Modified", "yesterday", "Date", now), validator{}},
	} {
		if got := validatorOf(test.header); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add(206, "bytes 5-9/10", "10", `"x"`, "gzip", "text/html", "3", int64(5), int64(10))
	f.Add(416, "bytes */10", "", "", "", "", "Sun, 01 Mar 2026 12:00:00 GMT", int64(10), int64(-1))
	f.Add(200, "", "-1", `W/"x"`, "", "", "", int64(0), int64(-1))
	f.Fuzz(func(t *testing.T, status int, rng, length, tag, coding, kind, after string, offset, total int64) {
		if offset < 0 || total < -1 || total >= 0 && offset > total {
			return
		}
		const most = 1 << 40
		a := newAsk(checkpoint{Offset: offset, Total: total, Mark: validator{ETag: tag}.clean()}, false, false, most)
		v := decide(a, Response{Status: status, Header: header("Content-Range", rng, "Content-Length", length, "ETag", tag,
			"Content-Encoding", coding, "Content-Type", kind, "Retry-After", after)}, noon)
		switch v.action {
		case proceed, rewrite:
			start := a.From
			if v.action == rewrite {
				start = 0
			}
			if v.end >= 0 && v.end <= start || v.total >= 0 && v.end > v.total || v.total > most || v.mark != v.mark.clean() {
				t.Fatalf("a body that cannot be: %+v for %+v", v, a)
			}
		case complete:
			if offset == 0 || v.total != offset {
				t.Fatalf("complete at %d: %+v", offset, v)
			}
		case wait:
			if v.after != 0 && (v.after < time.Second || v.after > 6*time.Hour) {
				t.Fatalf("waits %v", v.after)
			}
			fallthrough
		default:
			if v.why == "" {
				t.Fatalf("no reason: %+v", v)
			}
		}
	})
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	for n := range 100 {
		low, high := backoff(n, 0), backoff(n, 0.999999)
		if low != time.Second {
			t.Errorf("backoff(%d, 0) = %v, want 1s", n, low)
		}
		if want := min(15*time.Minute, 5*time.Second<<min(max(n-1, 0), 20)); high > want || high < want*99/100 {
			t.Errorf("backoff(%d, 1) = %v, want %v", n, high, want)
		}
	}
}
