package local

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// following is a server with the account building, whose states are set.
func following() (*Server, *latest.Value[AccountState]) {
	states := new(latest.Value[AccountState])
	s := willing()
	s.Follow = func(account string) (AccountState, <-chan struct{}, error) {
		if account != "building" {
			return AccountState{}, nil, Errorf(NotFound, "there is no account %q", account)
		}
		state, _, changed := states.Get()
		return state, changed, nil
	}
	s.Rejected = func(string, string, string) error { return nil }
	return s, states
}

// watching opens a watch as p and returns its lines.
func (b *bench) watching(p peer) (*bufio.Reader, func()) {
	b.t.Helper()
	conn, err := b.mem.dial(p)(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/accounts/building/watch HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 200 {
		b.t.Fatalf("watch: %+v, %v", resp, err)
	}
	return bufio.NewReader(resp.Body), func() { _ = conn.Close() }
}

func (b *bench) line(r *bufio.Reader) (s AccountState) {
	b.t.Helper()
	text, err := r.ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(text), &s)
	}
	if err != nil {
		b.t.Fatalf("line %q: %v", text, err)
	}
	return s
}

func TestAWatchBeginsWithTheStateInForce(t *testing.T) {
	s, states := following()
	serve(t, s, func(t *testing.T, b *bench) {
		states.Set(AccountState{State: "none", Reason: "never: eyJhbGciOiJIUzI1NiJ9.e30.x was refused"})
		lines, leave := b.watching(member)
		defer leave()
		if got := b.line(lines); got != (AccountState{Account: "building", State: "none", Reason: "never: [redacted] was refused"}) {
			t.Errorf("first: %+v", got)
		}
		end := time.Date(2030, 1, 1, 0, 0, 0, 999, time.FixedZone("", 3600))
		states.Set(AccountState{State: "valid", Token: "eyJhbGciOiJIUzI1NiJ9.e30.sig", Expires: end})
		if got := b.line(lines); got.Token != "eyJhbGciOiJIUzI1NiJ9.e30.sig" || got.Expires != end.UTC().Truncate(time.Second) {
			t.Errorf("then: token %q, %v", got.Token, got.Expires)
		}
		states.Set(AccountState{State: "valid", Token: "eyJhbGciOiJIUzI1NiJ9.e30.sig", Expires: end.Add(1)})
		synctest.Wait() // no change that one can see
		states.Set(AccountState{State: "valid", Token: "eyJhbGciOiJIUzI1NiJ9.e30.sig", Expires: end.Add(time.Hour)})
		if got := b.line(lines); got.Expires != end.UTC().Truncate(time.Second).Add(time.Hour) {
			t.Errorf("extended in place: until %v", got.Expires)
		}
		if n := strings.Count(b.log.String(), "token given"); n != 1 || strings.Contains(b.log.String(), "e30") {
			t.Errorf("%d lines for one token given: %s", n, b.log.String())
		}
		for _, call := range []string{"/v1/accounts/other/watch", "/v1/accounts/..%2f/watch"} {
			if got, body := b.do(root, "GET", call, nil); got != 404 && got != 400 {
				t.Errorf("%s: %d %s", call, got, body)
			}
		}
		if got, _ := b.do(stranger, "GET", "/v1/accounts/building/watch", nil); got != 403 {
			t.Errorf("a stranger: %d", got)
		}
	})
}

// TestSlowWatchersAreBounded has as many watchers as may be that do not read
// while the state changes 10,000 times: nothing is queued for them, what they
// read then is the newest, and who reads nothing for long is sent away.
func TestSlowWatchersAreBounded(t *testing.T) {
	const changes, users = 10_000, 8
	s, states := following()
	serve(t, s, func(t *testing.T, b *bench) {
		states.Set(AccountState{Token: "first"})
		var all []*bufio.Reader
		for uid := range uint32(users) {
			for range connsPerUID {
				lines, leave := b.watching(peer{uid: 2000 + uid, gid: 800})
				defer leave()
				b.line(lines)
				all = append(all, lines)
			}
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for n := range changes {
			states.Set(AccountState{Token: fmt.Sprintf("%d-%s", n, strings.Repeat("x", 2000))})
			if n%100 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
			t.Errorf("%d watchers that do not read hold %d bytes more after %d changes", len(all), grown, changes)
		}
		newest := fmt.Sprintf("%d-", changes-1)
		for i, lines := range all[:len(all)/2] {
			for n := 1; ; n++ {
				if got := b.line(lines); strings.HasPrefix(got.Token, newest) {
					break
				} else if n == 3 {
					t.Fatalf("watcher %d reads %.10s as its third line", i, got.Token)
				}
			}
		}
		time.Sleep(stallTimeout + time.Second)
		for i, lines := range all[len(all)/2:] {
			if _, err := io.Copy(io.Discard, lines); err == nil {
				t.Errorf("watcher %d that did not read was not sent away", i)
			}
		}
	})
}

func TestReportsOfARefusedTokenAreDebounced(t *testing.T) {
	s, states := following()
	var mu sync.Mutex
	var told []string
	s.Rejected = func(account, token, reason string) error {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, account+" "+token+" "+reason)
		return nil
	}
	serve(t, s, func(t *testing.T, b *bench) {
		report := func(p peer, token, reason string) (int, string) {
			text, err := json.Marshal(NewRejection(token, reason))
			if err != nil {
				t.Fatal(err)
			}
			return b.do(p, "POST", "/v1/accounts/building/rejected", carrying(string(text)))
		}
		states.Set(AccountState{Token: "token-number-1"})
		for _, tt := range []struct {
			name, token string
			peer        peer
			status      int
			say         string
		}{
			{"an older token", "token-number-0", member, 202, Superseded},
			{"none", "", member, 202, Superseded},
			{"the token in force", "token-number-1", member, 202, Noted},
			{"again, by another", "token-number-1", joined, 202, Known},
			{"by a stranger", "token-number-1", stranger, 403, "denied"},
		} {
			if got, body := report(tt.peer, tt.token, "401\nUnauthorized"); got != tt.status || !strings.Contains(body, tt.say) {
				t.Errorf("%s: got %d %s, want %d %s", tt.name, got, body, tt.status, tt.say)
			}
		}
		if len(told) != 1 || told[0] != "building token-number-1 401?Unauthorized" {
			t.Errorf("told %q, want one report", told)
		}
		states.Set(AccountState{Token: "token-number-2"})
		report(member, "token-number-2", "")
		if len(told) != 2 {
			t.Errorf("the next generation: told %q", told)
		}
		time.Sleep(rejectEvery + time.Second)
		report(member, "token-number-2", "")
		if len(told) != 3 {
			t.Errorf("much later: told %q", told)
		}
		sum := strings.Repeat("a", 64)
		for _, body := range []string{"", "{}", "[]", `{"tail":"x"}`, `{"sha256":"` + sum[1:] + `"}`, `{"sha256":"` + strings.ToUpper(sum) + `"}`,
			`{"sha256":"` + sum + `","token":"x"}`, `{"sha256":"` + sum + `","tail":"` + sum + `"}`, `{"sha256":"` + sum + `","reason":"` + strings.Repeat("r", 4000) + `"}`} {
			if got, answer := b.do(root, "POST", "/v1/accounts/building/rejected", carrying(body)); got != 400 {
				t.Errorf("%.60s: got %d %s, want 400", body, got, answer)
			}
		}
		if got, _ := b.do(root, "POST", "/v1/accounts/other/rejected", carrying(`{"sha256":"`+sum+`"}`)); got != 404 {
			t.Errorf("another account: %d", got)
		}
	})
}

func TestTheAuditIsBounded(t *testing.T) {
	serve(t, willing(), func(t *testing.T, b *bench) {
		for range 500 {
			if got, body := b.do(member, "GET", "/v1/accounts/device/token", nil); got != 200 {
				t.Fatalf("%d %s", got, body)
			}
		}
		if n := strings.Count(b.log.String(), "token given"); n != 1 {
			t.Errorf("%d lines for 500 requests in no time, want 1", n)
		}
		time.Sleep(auditEvery)
		b.do(member, "GET", "/v1/accounts/device/token", nil)
		b.do(member, "GET", "/v1/accounts/device/token", nil)
		if err := b.stop(); err != nil {
			t.Error(err)
		}
		if log := b.log.String(); strings.Count(log, "token given") != 3 || !strings.Contains(log, "times_before=499") || !strings.Contains(log, "times_before=1") {
			t.Errorf("who was given how many is not told: %s", log)
		}
		var a audit
		for n := range 3 * maxAudited {
			a.note(b.quiet(), "x", "", peer{pid: n}, time.Now())
		}
		if len(a.peers) > maxAudited {
			t.Errorf("%d peers are remembered", len(a.peers))
		}
	})
}
