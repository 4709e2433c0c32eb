package local

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// willing is a server whose every call succeeds.
func willing() *Server {
	return &Server{
		Status: func() Status { return Status{OTA: []Module{{Module: "app"}}} },
		Token: func(_ context.Context, account string, _ time.Duration) (TokenAnswer, error) {
			return TokenAnswer{Token: "a.b.c", Expires: time.Unix(1e9, 0)}, nil
		},
		Renew:    func(context.Context, string) error { return nil },
		Adopt:    func(context.Context, string, string) error { return nil },
		Check:    func(context.Context, string) error { return nil },
		Fetch:    func(context.Context, string) error { return nil },
		Install:  func(context.Context, string, bool) error { return nil },
		Rollback: func(context.Context, string) error { return nil },
		Add: func(_ context.Context, typ, module, name string, r io.Reader) (Item, error) {
			n, err := io.Copy(io.Discard, r)
			return Item{ID: "1", Name: name, Type: typ, Module: module, Size: n}, err
		},
	}
}

func TestRightsGoByThePeersCredentials(t *testing.T) {
	type right struct {
		method, path string
		body         string
		status       int // for whom may
		all          bool
		root         bool // and ourselves, alone
	}
	calls := []right{
		{"GET", "/v1/status", "", 200, true, false},
		{"GET", "/v1/ota", "", 200, true, false},
		{"GET", "/metrics", "", 200, true, false},
		{"GET", "/v1/accounts/device/token", "", 200, false, false},
		{"POST", "/v1/accounts/device/renew", "", 200, false, false},
		{"POST", "/v1/ota/app/check", "", 200, false, false},
		{"POST", "/v1/ota/app/fetch", "", 200, false, false},
		{"POST", "/v1/ota/app/install", "", 200, false, false},
		{"POST", "/v1/ota/app/install?now=1", "", 200, false, false},
		{"POST", "/v1/ota/app/rollback", "", 200, false, false},
		{"POST", "/v1/accounts/device/adopt", `{"token":"a.b.c"}`, 200, false, true},
		{"POST", "/v1/data-files?type=log", "line\n", 201, false, false},
	}
	peers := []struct {
		name    string
		peer    peer
		trusted bool
	}{
		{"root", root, true}, {"the agent's user", self, true}, {"member by primary group", member, true},
		{"member by supplementary group", joined, true}, {"stranger", stranger, false},
	}
	serve(t, willing(), func(t *testing.T, b *bench) {
		for _, c := range calls {
			for _, p := range peers {
				want := c.status
				may := c.all || p.trusted && (!c.root || p.peer.uid == root.uid || p.peer.uid == self.uid)
				if !may {
					want = http.StatusForbidden
				}
				change := func(*http.Request) {}
				if c.body != "" {
					change = carrying(c.body)
				}
				got, body := b.do(p.peer, c.method, c.path, change)
				if got != want {
					t.Errorf("%s %s by %s: got %d %s, want %d", c.method, c.path, p.name, got, body, want)
				}
				if got == http.StatusForbidden && !c.root && !strings.Contains(body, "only root and members of group spoke-zone may") {
					t.Errorf("%s %s by %s: the answer %s does not say who may", c.method, c.path, p.name, body)
				}
			}
		}
	})
}

func TestWithoutAGroupOnlyRootAndWeAreTrusted(t *testing.T) {
	r := rights{self: 900, group: -1}
	for _, tt := range []struct {
		peer peer
		want bool
	}{{root, true}, {self, true}, {member, false}, {joined, false}, {peer{uid: 1, gid: 1<<32 - 1, groups: []uint32{1<<32 - 1}}, false}} {
		if got := r.trusts(tt.peer); got != tt.want {
			t.Errorf("%+v: got %v, want %v", tt.peer, got, tt.want)
		}
	}
}

func TestTheGroupIsLookedUp(t *testing.T) {
	for _, tt := range []struct {
		group string
		want  int64
		err   string
	}{{"", -1, ""}, {"root", 0, ""}, {"4711", 4711, ""}, {"no-such-group", -1, `there is no group "no-such-group"`}, {"-1", -1, "no group"}} {
		r, err := newRights(tt.group)
		if r.group != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got %d, %v, want %d, %s", tt.group, r.group, err, tt.want, tt.err)
		}
	}
}

func TestRequestsOfWebPagesAreRefused(t *testing.T) {
	serve(t, willing(), func(t *testing.T, b *bench) {
		for _, tt := range []struct {
			name   string
			change func(*http.Request)
			want   int
		}{
			{"origin", with("Origin", "https://example.org"), 403},
			{"null origin", with("Origin", "null"), 403},
			{"referer", with("Referer", "http://localhost/"), 403},
			{"foreign host", func(r *http.Request) { r.Host = "example.org" }, 403},
			{"host with a port", func(r *http.Request) { r.Host = "localhost:80" }, 403},
			{"our host", func(r *http.Request) { r.Host = Host }, 200},
			{"localhost", nil, 200},
		} {
			if got, body := b.do(root, "GET", "/v1/accounts/device/token", tt.change); got != tt.want {
				t.Errorf("%s: got %d %s, want %d", tt.name, got, body, tt.want)
			}
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	serve(t, willing(), func(t *testing.T, b *bench) {
		for _, tt := range []struct {
			name, method, path string
			change             func(*http.Request)
			want               int
			say                string
		}{
			{"unknown call", "GET", "/v1/secrets", nil, 404, "there is no call GET /v1/secrets"},
			{"wrong method", "GET", "/v1/accounts/device/renew", nil, 404, "there is no call"},
			{"a body where none belongs", "POST", "/v1/accounts/device/renew", carrying("{}"), 400, "takes no body"},
			{"a body of unknown length", "POST", "/v1/ota/app/check", func(r *http.Request) {
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader("{}")), -1
			}, 400, "takes no body"},
			{"headers without end", "GET", "/v1/status", with("X-Long", strings.Repeat("x", 16<<10)), 431, ""},
			{"account with a slash", "GET", "/v1/accounts/..%2fdevice/token", nil, 400, "a name has letters"},
			{"account without end", "GET", "/v1/accounts/" + strings.Repeat("a", 65) + "/token", nil, 400, "a name has letters"},
			{"module with dots", "POST", "/v1/ota/%2e%2e/check", nil, 400, "a name has letters"},
			{"watch what", "GET", "/v1/status?watch=yes", nil, 400, "watch is 0 or 1"},
			{"no duration", "GET", "/v1/accounts/device/token?min_validity=soon", nil, 400, "a duration such as 10m"},
			{"negative duration", "GET", "/v1/accounts/device/token?min_validity=-1s", nil, 400, "a duration such as 10m"},
		} {
			if got, body := b.do(root, tt.method, tt.path, tt.change); got != tt.want || !strings.Contains(body, tt.say) {
				t.Errorf("%s: got %d %s, want %d %s", tt.name, got, body, tt.want, tt.say)
			}
		}
	})
}

func TestCallsThatNobodyServes(t *testing.T) {
	serve(t, &Server{}, func(t *testing.T, b *bench) {
		for _, call := range []string{"GET /v1/status", "GET /v1/ota", "GET /v1/accounts/device/token", "POST /v1/accounts/device/renew",
			"POST /v1/ota/app/check", "POST /v1/ota/app/fetch", "POST /v1/data-files"} {
			method, path, _ := strings.Cut(call, " ")
			if got, body := b.do(root, method, path, nil); got != 404 {
				t.Errorf("%s: got %d %s, want 404", call, got, body)
			}
		}
	})
}

func TestAPeerThatFloodsIsSlowedDownAlone(t *testing.T) {
	serve(t, willing(), func(t *testing.T, b *bench) {
		for n := range burst {
			if got, body := b.do(stranger, "GET", "/v1/status", nil); got != 200 {
				t.Fatalf("request %d: %d %s", n, got, body)
			}
		}
		if got, body := b.do(stranger, "GET", "/v1/status", nil); got != 429 || !strings.Contains(body, `"busy"`) {
			t.Errorf("request too many: got %d %s, want 429", got, body)
		}
		if got, _ := b.do(member, "GET", "/v1/status", nil); got != 200 {
			t.Errorf("another uid: got %d, want 200", got)
		}
		time.Sleep(time.Second)
		if got, _ := b.do(stranger, "GET", "/v1/status", nil); got != 200 {
			t.Errorf("a second later: got %d, want 200", got)
		}
	})
}

func TestTheTableOfAskersIsBounded(t *testing.T) {
	var l limiter
	now := time.Unix(1e9, 0)
	for range burst + 1 {
		l.allow(0, now)
	}
	for uid := range uint32(10 * maxUIDs) {
		now = now.Add(time.Microsecond)
		l.allow(uid+1, now)
		l.allow(0, now) // the flood goes on and is never the one forgotten
	}
	if len(l.uids) > maxUIDs {
		t.Errorf("%d uids are remembered, want at most %d", len(l.uids), maxUIDs)
	}
	if l.allow(0, now) {
		t.Error("the uid that floods was forgotten and may ask again")
	}
}

func TestOnePeerCannotTakeAllConnections(t *testing.T) {
	serve(t, willing(), func(t *testing.T, b *bench) {
		dial := b.mem.dial(stranger)
		for range connsPerUID {
			c, err := dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		late, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := late.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a connection too many reads %v, want EOF", err)
		}
		if got, _ := b.do(member, "GET", "/v1/status", nil); got != 200 {
			t.Errorf("another uid: got %d, want 200", got)
		}
		time.Sleep(headerTimeout + time.Second) // the idle ones are sent away
		if got, _ := b.do(stranger, "GET", "/v1/status", nil); got != 200 {
			t.Errorf("when they are gone: got %d, want 200", got)
		}
	})
}
