package cloudtest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// faultTests has a test for every fault but those of the broker, which are in
// brokerFaultTests. Each runs in a bubble, with the fault switched off, and
// with one release of 100 KiB, number 7, in the catalogue.
var faultTests = map[Fault]func(t *testing.T, g *gateway){
	Unreachable: func(t *testing.T, g *gateway) {
		g.get("/api/v2/ota-files").want(t, 200)
		g.cloud.MustSet(Unreachable, Always)
		if a := g.get("/api/v2/ota-files"); a.Err == nil {
			t.Errorf("got status %d; want no connection", a.Status)
		}
		g.cloud.MustSet(Unreachable, Times(1).On("login")) // an answer that never comes
		if a := g.login(); a.Err == nil {
			t.Errorf("got status %d; want a cut connection", a.Status)
		}
		g.login().want(t, 200)
	},
	Latency: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(Latency, Times(1).With(7*time.Second))
		start := time.Now()
		g.login().want(t, 200)
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("got an answer after %v; want 7 s", took)
		}
	},
	CaptivePortal: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(CaptivePortal, Times(1))
		a := g.login()
		a.want(t, 302)
		portal := g.get(a.Header.Get("Location"))
		portal.want(t, 200, "<html>")
		if got := g.cloud.Counts()[EventLeak]; got != 1 {
			t.Errorf("got %d leaks; want the token noticed that went to the portal", got)
		}
		g.cloud.MustSet(CaptivePortal, Times(1).With("page"))
		g.get("/api/v2/ota-files").want(t, 200, "<html>")
	},
	TooManyRequests: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(TooManyRequests, Times(1))
		a := g.login()
		a.want(t, 429)
		if got, has := a.Header["Retry-After"]; has {
			t.Errorf("got Retry-After %q; want none", got)
		}
		g.cloud.MustSet(TooManyRequests, Times(1).With("90s"))
		a = g.login()
		a.want(t, 429)
		if got := a.Header.Get("Retry-After"); got != "90" {
			t.Errorf("got Retry-After %q; want 90", got)
		}
	},
	ServerError: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(ServerError, Every(5).On("login"))
		var got []int
		for range 10 {
			got = append(got, g.login().Status)
		}
		g.get("/api/v2/ota-files").want(t, 200)
		if want := []int{200, 200, 200, 200, 503, 200, 200, 200, 200, 503}; !slices.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
	},
	HTMLError: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(HTMLError, Times(1).With(504))
		a := g.get("/api/v2/ota-files")
		a.want(t, 504, "<html>")
		if got := a.Header.Get("Content-Type"); got != "text/html" {
			t.Errorf("got %s", got)
		}
	},
	LostAnswer: func(t *testing.T, g *gateway) {
		g.token = g.cloud.Issue(g.ID, time.Hour)
		g.cloud.MustSet(LostAnswer, Times(1))
		if a := g.login(); a.Err == nil {
			t.Errorf("got status %d; want no answer", a.Status)
		}
		logins := g.cloud.Logins()
		if len(logins) != 1 || logins[0].Status != 201 || logins[0].Given == "" {
			t.Fatalf("got %+v; want a login that was committed", logins)
		}
		g.login().want(t, 201)
		g.token = logins[0].Given
		g.get("/api/v2/ota-files").want(t, 200)
		g.cloud.MustSet(LostAnswer, Times(1).On("data-create"))
		g.post("/api/v2/data-files", `{"type":"log"}`)
		if got := g.cloud.DataFiles(); len(got) != 1 {
			t.Errorf("got %+v; want the data file whose id nobody learned", got)
		}
	},
	TruncatedJSON: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(TruncatedJSON, Times(1))
		a := g.get("/api/v2/ota-files")
		a.want(t, 200, `[{"`)
		if strings.HasSuffix(string(a.Body), "]") {
			t.Errorf("got %s; want its end missing", a.Body)
		}
	},
	WrongTypes: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(WrongTypes, Times(3))
		f := g.list("")[0]
		for name, v := range f {
			switch v.(type) {
			case float64, map[string]any, []any:
			default:
				t.Errorf("got %s = %v; want another type than documented", name, v)
			}
		}
		if _, isString := f["version"].(string); isString {
			t.Errorf("got version %v; want no string", f["version"])
		}
		g.token = g.cloud.Issue(g.ID, time.Hour)
		if _, isString := g.login().object(t)["token"].(string); isString {
			t.Error("got a token; want no string")
		}
		if got := g.get("/nowhere").object(t)["errors"]; got != "errors" {
			t.Errorf("got errors %v; want no array", got)
		}
	},
	StringIDs: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(StringIDs, Always)
		if got := g.list("")[0]["id"]; got != "7" {
			t.Errorf("got release %v; want a string", got)
		}
		g.post("/api/v2/data-files", `{"type":"log"}`).want(t, 200, `{"id":"101"}`)
		g.get(fmt.Sprintf("/api/v2/devices/%d", g.ID)).want(t, 200, fmt.Sprintf(`"id":"%d"`, g.ID))
		g.cloud.MustSet(StringIDs, Share(0.5))
		kinds := map[bool]bool{}
		for range 64 {
			_, isString := g.list("")[0]["id"].(string)
			kinds[isString] = true
		}
		if len(kinds) != 2 {
			t.Error("got one kind of id; want both")
		}
	},
	NoDate: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(NoDate, Times(1))
		if got := g.login().Header.Get("Date"); got != "" {
			t.Errorf("got Date %s; want none", got)
		}
	},
	WrongDate: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(WrongDate, Times(1).With("-8760h"))
		a := g.login()
		a.want(t, 200)
		if got := a.Header.Get("Date"); got != "Fri, 01 Jan 1999 00:00:00 GMT" {
			t.Errorf("got Date %s; want a year earlier", got)
		}
	},
	LoginRefused: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(LoginRefused, Times(1))
		g.login().want(t, 401)
		g.cloud.MustSet(LoginRefused, Times(1).With(403))
		g.login().want(t, 403)
		g.login().want(t, 200)
	},
	LoginWithoutToken: func(t *testing.T, g *gateway) {
		g.token = g.cloud.Issue(g.ID, time.Hour)
		g.cloud.MustSet(LoginWithoutToken, Times(1))
		a := g.login()
		a.want(t, 200)
		if _, given := a.object(t)["token"]; given {
			t.Error("got a token; want none")
		}
		g.login().want(t, 201)
	},
	LoginSameToken: func(t *testing.T, g *gateway) {
		g.token = g.cloud.Issue(g.ID, time.Hour)
		g.cloud.MustSet(LoginSameToken, Times(1))
		a := g.login()
		a.want(t, 201)
		if a.object(t)["token"] != g.token {
			t.Error("got another token; want the one that was sent")
		}
	},
	RevokeRenewed: func(t *testing.T, g *gateway) {
		old := g.cloud.Issue(g.ID, time.Hour)
		g.token = old
		g.cloud.MustSet(RevokeRenewed, Always)
		g.token = g.login().object(t)["token"].(string)
		g.get("/api/v2/ota-files").want(t, 200)
		g.token = old
		g.get("/api/v2/ota-files").want(t, 401)
		g.login().want(t, 400)
	},
	UnlimitedGrace: func(t *testing.T, g *gateway) {
		g.token = g.cloud.Issue(g.ID, -1000*time.Hour)
		g.login().want(t, 401)
		g.cloud.MustSet(UnlimitedGrace, Always)
		g.login().want(t, 201)
	},
	OddFields: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(OddFields, Times(1))
		f := g.list("")[0]
		if f["isActive"] != 1.0 || f["createdDate"] != "2000-01-01" || f["releaseNotes"] != nil || f["releaseDate"] != nil || f["modelId"] != nil {
			t.Errorf("got %v", f)
		}
	},
	ShuffledList: func(t *testing.T, g *gateway) {
		for range 20 {
			g.cloud.Offer("display", "2", Bytes(nil))
		}
		sorted := ids(g.list(""))
		g.cloud.MustSet(ShuffledList, Always)
		shuffled := ids(g.list("?limit=15"))
		shuffled = append(shuffled, ids(g.list("?limit=15&offset=15"))...)
		if slices.Equal(sorted, shuffled) {
			t.Error("got the order of ids; want another")
		}
		if slices.Sort(shuffled); !slices.Equal(sorted, shuffled) {
			t.Errorf("got %v; want every release once over the pages", shuffled)
		}
	},
	NoRange: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(NoRange, Always)
		a := g.file("Range", "bytes=5-")
		if a.want(t, 200); len(a.Body) != 102400 || a.Header.Get("Accept-Ranges") != "" {
			t.Errorf("got %d bytes with %v; want all of them", len(a.Body), a.Header)
		}
	},
	WrongRange: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(WrongRange, Times(1).With(10))
		a := g.file("Range", "bytes=5-")
		if a.want(t, 206); a.Header.Get("Content-Range") != "bytes 15-102399/102400" {
			t.Errorf("got %s; want a start that nobody asked for", a.Header.Get("Content-Range"))
		}
	},
	NoETag: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(NoETag, Times(1))
		if got := g.file().Header.Get("ETag"); got != "" {
			t.Errorf("got ETag %s; want none", got)
		}
	},
	WeakETag: func(t *testing.T, g *gateway) {
		strong := g.file().Header.Get("ETag")
		g.cloud.MustSet(WeakETag, Always)
		a := g.file()
		if got := a.Header.Get("ETag"); got != "W/"+strong {
			t.Errorf("got ETag %s; want W/%s", got, strong)
		}
		g.file("Range", "bytes=5-", "If-Range", a.Header.Get("ETag")).want(t, 200)
	},
	NoLastModified: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(NoLastModified, Times(1))
		if got := g.file().Header.Get("Last-Modified"); got != "" {
			t.Errorf("got Last-Modified %s; want none", got)
		}
	},
	NoLength: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(NoLength, Times(1))
		a := g.file()
		if a.want(t, 200); a.Header.Get("Content-Length") != "" || len(a.Body) != 102400 {
			t.Errorf("got Content-Length %q and %d bytes", a.Header.Get("Content-Length"), len(a.Body))
		}
	},
	RedirectFiles: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(RedirectFiles, Always)
		a := g.file()
		a.want(t, 302)
		to := a.Header.Get("Location")
		if !strings.HasPrefix(to, g.addrs.Files+"/ota/7?signature=") {
			t.Fatalf("got %s; want a place at the other host", to)
		}
		g.token = ""
		b := g.get(to, "Range", "bytes=5-")
		if b.want(t, 206); len(b.Body) != 102395 {
			t.Errorf("got %d bytes", len(b.Body))
		}
		if got := g.cloud.Counts()[EventLeak]; got != 0 {
			t.Errorf("got %d leaks; want none without a token", got)
		}
		g.get(g.addrs.Files+"/ota/7?signature=00").want(t, 403)
		g.get(g.addrs.Files+"/elsewhere").want(t, 403)
		g.cloud.MustSet(ServerError, Times(1).On("files"))
		g.get(to).want(t, 503)
		g.cloud.Withdraw(7)
		g.get(to).want(t, 404)
	},
	SlowBody: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(SlowBody, Times(1).With(1024))
		start := time.Now()
		a := g.file("Range", "bytes=0-20479")
		a.want(t, 206)
		if took := time.Since(start).Round(time.Second); took != 20*time.Second {
			t.Errorf("got 20 KiB in %v; want 20 s", took)
		}
	},
	CutBody: func(t *testing.T, g *gateway) {
		for _, n := range []int{0, 1, 40_000} {
			g.cloud.MustSet(CutBody, Times(1).With(n))
			a := g.file()
			if a.Status != 200 || len(a.Body) != n || !errors.Is(a.Err, io.ErrUnexpectedEOF) {
				t.Errorf("got status %d, %d bytes, %v; want %d bytes and a cut", a.Status, len(a.Body), a.Err, n)
			}
		}
		if got := g.cloud.Served(7); got != 40_001 {
			t.Errorf("got %d bytes served; want 40001", got)
		}
		g.cloud.MustSet(CutBody, Times(1).With(102400))
		g.file().want(t, 200)
	},
	WithdrawnDownloadable: func(t *testing.T, g *gateway) {
		g.cloud.Withdraw(7)
		g.file().want(t, 404)
		g.cloud.MustSet(WithdrawnDownloadable, Always)
		g.file().want(t, 200)
	},
	CutUpload: func(t *testing.T, g *gateway) {
		g.post("/api/v2/data-files", `{"type":"log"}`).want(t, 200)
		g.cloud.MustSet(CutUpload, Times(1).With(5000))
		if a := g.put("101", "files", make([]byte, 100_000)); a.Err == nil {
			t.Errorf("got status %d; want a cut", a.Status)
		}
		g.cloud.MustSet(CutUpload, Times(1).With(5000))
		if a := g.put("101", "files", make([]byte, 100)); a.Err == nil { // shorter than that
			t.Errorf("got status %d; want a cut", a.Status)
		}
		if got := g.cloud.Uploads(); len(got) != 0 {
			t.Errorf("got %+v; want nothing kept", got)
		}
		g.put("101", "files", make([]byte, 100_000)).want(t, 200)
	},
	NoSecondPut: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(NoSecondPut, Always)
		g.post("/api/v2/data-files", `{"type":"log"}`).want(t, 200)
		g.put("101", "files", []byte("x")).want(t, 200)
		g.put("101", "files", []byte("y")).want(t, 400, "invalid-operation")
	},
}

// file downloads release 7.
func (g *gateway) file(headers ...string) answer {
	g.t.Helper()
	return g.get("/api/v2/ota-files/7/file", headers...)
}

func TestFaults(t *testing.T) {
	for _, f := range Faults {
		test, broker := faultTests[f.Name], brokerFaultTests[f.Name]
		if (test == nil) == (broker == nil) && f.Name != Unreachable {
			t.Errorf("fault %s: want a test in one of the two tables", f.Name)
		}
		if test == nil {
			continue
		}
		t.Run(string(f.Name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Options{})
				g.cloud.Offer("display", "1", Seeded(1, 100<<10))
				test(t, g)
			})
		})
	}
}

func TestEveryFaultIsDescribed(t *testing.T) {
	seen := map[Fault]bool{}
	for _, f := range Faults {
		if seen[f.Name] || f.Doc == "" || (f.Arg == "") != (f.Default == "") || (f.Arg == "") != (f.Check == nil) {
			t.Errorf("got an incomplete or a second description of %s", f.Name)
		}
		seen[f.Name] = true
		if f.Check != nil && f.Check(f.Default) != nil {
			t.Errorf("fault %s: its default %q is no argument", f.Name, f.Default)
		}
	}
}

func TestSetRefusesWhatMakesNoSense(t *testing.T) {
	c := New(Options{})
	defer c.Close()
	for _, tt := range []struct {
		name Fault
		s    Switch
		want string
	}{
		{"gremlins", Always, "none of that name"},
		{StringIDs, Always.With("x"), "takes no argument"},
		{Latency, Always.With("soon"), "want duration"},
		{ServerError, Always.With("200"), "want status"},
		{ServerError, Always.With("599"), "want status"},
		{CutBody, Always.With("-1"), "want bytes"},
		{RefuseConnect, Always.With("6"), "want 3, 4 or 5"},
		{Forbidden, Always.With("shout"), "want ignore or disconnect"},
		{ServerError, Always.On("nothing"), "want login, device"},
		{TooManyRequests, Always.With("often"), "want duration or none"},
		{Silent, Always.On("login"), "cannot be limited"},
	} {
		if err := c.Set(tt.name, tt.s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Set(%s, %s): got %v; want %q", tt.name, tt.s, err, tt.want)
		}
	}
	if got := c.Switches(); len(got) != 0 {
		t.Errorf("got %v; want nothing on", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("MustSet: got no panic")
		}
	}()
	c.MustSet("gremlins", Always)
}

func TestSwitches(t *testing.T) {
	c := New(Options{Seed: 1})
	defer c.Close()
	count := func(s Switch, op string) (hits int) {
		c.MustSet(ServerError, s)
		for range 1000 {
			if _, ok := c.hit(ServerError, op); ok {
				hits++
			}
		}
		return hits
	}
	for _, tt := range []struct {
		s        Switch
		min, max int
	}{
		{Off, 0, 0}, {Always, 1000, 1000}, {Times(3), 3, 3}, {Every(4), 250, 250}, {Share(0.2), 150, 250},
		{Share(0), 0, 0}, {Share(1), 1000, 1000}, {Always.On("device"), 0, 0}, {Always.On("device", "login"), 1000, 1000},
	} {
		if got := count(tt.s, "login"); got < tt.min || got > tt.max {
			t.Errorf("%s: got %d of 1000; want %d to %d", tt.s, got, tt.min, tt.max)
		}
	}
	c.MustSet(ServerError, Times(2).With(500).On("login", "device"))
	if got := c.Switches(); !reflect.DeepEqual(got, map[Fault]string{ServerError: "2@500:login,device"}) {
		t.Errorf("got %v", got)
	}
	c.MustSet(ServerError, Off)
	if got := c.Switches(); len(got) != 0 {
		t.Errorf("got %v; want nothing on", got)
	}
}

func TestParseSwitchReadsWhatStringWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom([]Switch{
			Always, Times(rapid.IntRange(1, 1e6).Draw(t, "times")), Every(rapid.IntRange(1, 1e6).Draw(t, "every")),
			Share(float64(rapid.IntRange(1, 100).Draw(t, "percent")) / 100),
		}).Draw(t, "switch")
		if rapid.Bool().Draw(t, "with") {
			s = s.With(rapid.StringMatching(`[a-z0-9.-]{1,8}`).Draw(t, "arg"))
		}
		if rapid.Bool().Draw(t, "on") {
			s = s.On(rapid.SliceOfN(rapid.SampledFrom(Operations), 1, 3).Draw(t, "ops")...)
		}
		got, err := ParseSwitch(s.String())
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("%s: got %+v, %v; want %+v", s, got, err, s)
		}
	})
}

func FuzzParseSwitch(f *testing.F) {
	for _, s := range []string{"off", "on", "always", "3", "20%", "1/5", "always@5s:login,device", "-1", "101%", "1/0", "NaN%", "", "@", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSwitch(text)
		if err != nil {
			if !reflect.DeepEqual(s, Switch{}) {
				t.Errorf("got %+v with an error", s)
			}
			return
		}
		again, err := ParseSwitch(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q: got %q, then %q, %v", text, s, again, err)
		}
	})
}

func TestParseSwitchFaultsTheRest(t *testing.T) {
	for _, text := range []string{"", "maybe", "-1", "101%", "-1%", "NaN%", "1/0", "1/x", "2/3", "0.2"} {
		if s, err := ParseSwitch(text); err == nil {
			t.Errorf("%q: got %s; want an error", text, s)
		}
	}
}

var _ http.Handler = (*Cloud)(nil)
