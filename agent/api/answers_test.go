package api

import (
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestLoginAnswers(t *testing.T) {
	long := "eyJ." + strings.Repeat("a", maxToken) + ".b"
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   string
		err    string // part of it; "" for none
	}{
		{"still good", 200, `{"status":"ok","message":"Token is valid"}`, "", ""},
		{"still good, without a word", 200, ``, "", ""},
		{"no content", 204, ``, "", ""},
		{"renewed", 201, `{"token":"h.p.s"}`, "h.p.s", ""},
		{"renewed with 200", 200, `{"token":"h.p.s","status":1}`, "h.p.s", ""},
		{"renewed with 202", 202, `{"token":"` + token + `"}`, token, ""},
		{"null", 200, `{"token":null}`, "", ""},
		{"without what it promises", 201, `{"status":"ok"}`, "", "no token"},
		{"nothing at all", 201, ``, "", "unexpected end"},
		{"a number", 201, `{"token":7}`, "", "not a string"},
		{"an object", 200, `{"token":{"a":"b"}}`, "", "not a string"},
		{"empty", 201, `{"token":""}`, "", "not a JWT"},
		{"not a JWT", 201, `{"token":"hello"}`, "", "not a JWT"},
		{"with a line break", 201, `{"token":"h.p\n.s"}`, "", "not a JWT"},
		{"too long", 201, `{"token":"` + long + `"}`, "", "longer than"},
		{"larger than any answer", 201, `{"token":"` + long + long + `"}`, "", "larger than"},
		{"HTML", 200, "\n<html>", "", "HTML"},
		{"truncated", 201, `{"token":"h.p`, "", "unexpected end"},
		{"an array", 200, `["h.p.s"]`, "", "array instead of an object"},
		{"wrong cpu_id", 400, `bad request`, "", "400 Bad Request: bad request"},
		{"forbidden", 403, ``, "", "403 Forbidden"},
	} {
		got, err := answers(t, tc.status, tc.body).LoginDevice(t.Context(), identity)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: got %q, %v; want %q, %q", tc.name, got, err, tc.want, tc.err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "POST /loginDevice: ") {
			t.Errorf("%s: error does not name the endpoint: %v", tc.name, err)
		}
	}
}

func TestOTAFilesReadsWhatTheServiceMaySay(t *testing.T) {
	const body = `[
	 {"id":7,"modelId":2,"moduleId":3,"module":"display","version":"1.3.0","fileLocation":"/bin","isActive":true,
	  "createdDate":"2026-01-01T10:11:12Z","releaseDate":"2026-02-03T00:00:00+01:00","releaseNotes":"ü","new":{"a":[1]}},
	 {"id":"12345","module":"sensors","version":"1.2.3","isActive":1,"createdDate":"2026-01-01","releaseDate":null,"releaseNotes":null},
	 {"id":8,"module":"display","version":"1.2.0","isActive":0,"createdDate":"yesterday","releaseDate":5},
	 {"id":9,"module":"display","version":"1.1.0","isActive":"1"},
	 {"id":10,"module":"display","version":"1.0.0"},
	 {"id":{},"module":"display","version":"0.9.0"},
	 "what",
	 {"id":11,"module":"display","version":2},
	 {"id":12,"module":"display","version":"1","isActive":"maybe"},
	 {"id":"../../devices","module":"display","version":"1"},
	 {"id":13,"module":"display","version":"1.4.0","isActive":true}
	]`
	files, err := answers(t, 200, body).OTAFiles(t.Context(), "display", 50, 0)
	if err != nil {
		t.Fatal(err)
	}
	utc := func(y, m, d, h, min, s int) time.Time { return time.Date(y, time.Month(m), d, h, min, s, 0, time.UTC) }
	want := []OTAFile{
		{ID: "7", Module: "display", Version: "1.3.0", Active: true, Created: utc(2026, 1, 1, 10, 11, 12), Released: utc(2026, 2, 2, 23, 0, 0), Notes: "ü"},
		{ID: "12345", Module: "sensors", Version: "1.2.3", Active: true, Created: utc(2026, 1, 1, 0, 0, 0)},
		{ID: "8", Module: "display", Version: "1.2.0"},
		{ID: "9", Module: "display", Version: "1.1.0", Active: true},
		{ID: "10", Module: "display", Version: "1.0.0", Active: true},
		{}, {}, {}, {}, {},
		{ID: "13", Module: "display", Version: "1.4.0", Active: true},
	}
	errs := map[int]string{
		5: "element 5: id is neither", 6: "element 6: not an object", 7: "element 7: version is missing",
		8: "element 8: isActive is neither", 9: "element 9: id is not an identifier",
	}
	if len(files) != len(want) {
		t.Fatalf("got %d files, want %d", len(files), len(want))
	}
	for i, got := range files {
		if part, bad := errs[i]; bad {
			if got.Err == nil || !strings.HasPrefix(got.Err.Error(), part) || got.Active {
				t.Errorf("element %d: got %v, active %v; want %q", i, got.Err, got.Active, part)
			}
			continue
		}
		got.Created, got.Released = got.Created.UTC(), got.Released.UTC()
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("element %d:\n got %+v\nwant %+v", i, got, want[i])
		}
	}
}

func TestOTAFilesRefusesWhatIsNoList(t *testing.T) {
	notes := `{"id":1,"module":"m","version":"1","releaseNotes":"` + strings.Repeat("x", maxText) + `"}`
	files, err := answers(t, 200, `[`+notes+`,{"id":2,"module":"m","version":"1"}]`).OTAFiles(t.Context(), "m", 0, 0)
	if err != nil || len(files) != 2 || files[1].Err != nil || files[0].Err == nil || !strings.Contains(files[0].Err.Error(), "releaseNotes") {
		t.Errorf("huge notes: got %d files, %v", len(files), err)
	}
	for _, tc := range []struct{ name, body, want string }{
		{"an object", `{"items":[]}`, "not an array"},
		{"HTML", `<html>`, "HTML"},
		{"nothing", ``, "EOF"},
		{"truncated", `[{"id":1,"module":"m"`, "unexpected EOF"},
		{"truncated between two", `[{"id":1,"module":"m","version":"1"},`, "EOF"},
		{"two lists", `[][]`, "more after the array"},
		{"more than fits", `[` + strings.Repeat(" ", maxList) + `]`, "larger than"},
		{"too many", `[` + strings.Repeat("1,", maxElements) + `1]`, "more than 4096 elements"},
		{"nothing of use", `[` + notes + `,7]`, "no element can be used: element 0: releaseNotes"},
		{"nested deeper than sense", `[` + strings.Repeat("[", 20000) + `]`, "depth"},
	} {
		files, err := answers(t, 200, tc.body).OTAFiles(t.Context(), "m", 0, 0)
		if files != nil || err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "GET /api/v2/ota-files: ") {
			t.Errorf("%s: got %d files, %v; want %q", tc.name, len(files), err, tc.want)
		}
	}
}

func TestDeviceToleratesNulls(t *testing.T) {
	full, err := answers(t, 200, `{"id":123,"identifier":"d-123","serialNumber":null,"modelId":9,"name":"Model Nine",
	 "lastOnline":"2026-01-02T03:04:05Z","lastLatitude":41.1,"lastLongitude":-71.2,"softwareVersions":{"display":"1.2.3","odd":7}}`).Device(t.Context(), "123")
	if err != nil {
		t.Fatal(err)
	}
	if full.ID != "123" || full.Identifier != "d-123" || full.SerialNumber != "" || full.ModelID != "9" || full.Model != "Model Nine" ||
		full.LastOnline.Unix() != 1767323045 || *full.Latitude != 41.1 || *full.Longitude != -71.2 || !reflect.DeepEqual(full.Versions, map[string]string{"display": "1.2.3"}) {
		t.Errorf("got %+v", full)
	}
	bare, err := answers(t, 200, `{"id":"x1","modelId":null,"name":7,"lastOnline":"never","lastLatitude":"?","softwareVersions":null}`).Device(t.Context(), "x1")
	if err != nil || bare.ID != "x1" || bare.ModelID != "" || bare.Latitude != nil || !bare.LastOnline.IsZero() || len(bare.Versions) != 0 {
		t.Errorf("got %+v, %v", bare, err)
	}
}

func TestIDsHaveNoPathInThem(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("request was sent") })
	for _, id := range []string{"", ".", "..", "a/b", `a\b`, "a\nb", "a\x7fb", strings.Repeat("9", maxID+1), "\xff"} {
		_, err1 := c.Device(t.Context(), id)
		_, err2 := c.OTAContent(t.Context(), id, nil)
		err3 := c.PutDataFile(t.Context(), id, "n", 1, strings.NewReader("x"))
		if err1 == nil || err2 == nil || err3 == nil {
			t.Errorf("id %q: got %v, %v, %v", id, err1, err2, err3)
		}
	}
	var path string
	c = serve(t, func(w http.ResponseWriter, r *http.Request) { path = r.URL.EscapedPath(); w.Write([]byte(`{}`)) })
	if _, err := c.Device(t.Context(), "a?b#c%2f ü"); err != nil || path != "/api/v2/devices/a%3Fb%23c%252f%20%C3%BC" {
		t.Errorf("got %s, %v", path, err)
	}
}

func TestCreateDataFileID(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":101}`: "101", `{"id":"101"}`: "101", `{"id":18446744073709551615}`: "18446744073709551615",
		`{"id":-1}`: "", `{"id":1.5}`: "", `{"id":1e3}`: "", `{"id":true}`: "", `{"id":[1]}`: "", `{"id":null}`: "", `{}`: "", `{"id":""}`: "", `[1]`: "", `<p>`: "",
	} {
		id, err := answers(t, 200, body).CreateDataFile(t.Context(), "log", "")
		if id != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v", body, id, err)
		}
	}
}

func TestErrorBodies(t *testing.T) {
	for _, tc := range []struct {
		body    string
		types   []string
		message string
	}{
		{`{"errors":[{"type":"invalid-field","message":"\"type\" is bad","details":{"field":"type"}},{"type":"required-field","message":"x is missing"}]}`,
			[]string{"invalid-field", "required-field"}, `invalid-field: "type" is bad; required-field: x is missing`},
		{`{"errors":[{"type":7,"message":null,"details":[]},"odd",{"type":"unknown-field"}]}`, []string{"unknown-field"}, "unknown-field"},
		{`{"errors":"odd","message":"File is empty"}`, nil, `{"errors":"odd","message":"File is empty"}`},
		{`{"message":"File is empty"}`, nil, "File is empty"},
		{`{"error":"no"}`, nil, "no"},
		{`{}`, nil, "{}"},
		{``, nil, ""},
		{"plain\ttext\x1b[31m", nil, "plain text[31m"},
		{`<html>secret`, nil, "an HTML page"},
		{"\xff\xfe", nil, ""},
		{"key AKIAIOSFODNN7EXAMPLEAKIAIOSFODNN7EXAMPLE1234 " + token, nil, "key [redacted] [redacted]"},
		{"to\u200bken eyJhbGci\u200bOiJIUzI1NiJ9.eyJ", nil, "token [redacted]"},
	} {
		types, message := decodeErrorBody([]byte(tc.body), nil)
		if !reflect.DeepEqual(types, tc.types) || message != tc.message {
			t.Errorf("%s:\n got %q, %q\nwant %q, %q", tc.body, types, message, tc.types, tc.message)
		}
	}
	_, err := answers(t, 400, `{"errors":[{"type":"required-field","message":"x"}]}`).CreateDataFile(t.Context(), "x", "")
	var se *StatusError
	if !errors.As(err, &se) || !se.Has("required-field") || se.Has("invalid-field") {
		t.Errorf("got %#v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	server := now.Add(10 * 365 * 24 * time.Hour) // our clock is wrong
	at := func(d time.Duration) string { return server.Add(d).Format(http.TimeFormat) }
	for _, tc := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"120", "", 2 * time.Minute},
		{" 5 ", "", 5 * time.Second},
		{"0", "", 0},
		{"-5", "", 0},
		{"1.5", "", 0},
		{"soon", "", 0},
		{"4294967295", "", maxRetryAfter},
		{"99999999999999999999", "", 0},
		{at(time.Minute), at(0), time.Minute},
		{at(-time.Minute), at(0), 0},
		{at(1000 * time.Hour), at(0), maxRetryAfter},
		{now.Add(time.Minute).Format(http.TimeFormat), "", time.Minute},
	} {
		h := http.Header{"Retry-After": {tc.value}, "Date": {tc.date}}
		if got := retryAfter(h, now); got != tc.want {
			t.Errorf("%q at %q: got %v, want %v", tc.value, tc.date, got, tc.want)
		}
	}
	for reset, want := range map[string]time.Duration{
		"30": 30 * time.Second, "soon": 0, "": 0,
		strconv.FormatInt(server.Add(time.Minute).Unix(), 10): time.Minute, strconv.FormatInt(now.Unix(), 10): 0,
	} {
		h := http.Header{"X-Ratelimit-Reset": {reset}, "Date": {at(0)}}
		if got := retryAfter(h, now); got != want {
			t.Errorf("x-ratelimit-reset %q: got %v, want %v", reset, got, want)
		}
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := c.OTAFiles(t.Context(), "m", 0, 0)
	var shape interface {
		error
		HTTPStatus() int
		RetryAfter() time.Duration
	}
	if !errors.As(err, &shape) || shape.HTTPStatus() != 429 || shape.RetryAfter() != 7*time.Second {
		t.Errorf("got %v", err)
	}
}
