package local

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAdoptHandsTheTokenOver(t *testing.T) {
	s := willing()
	var got string
	var fail error
	s.Adopt = func(ctx context.Context, account, token string) error {
		time.Sleep(2 * time.Minute) // longer than a silent peer may take
		got = account + " " + token
		return fail
	}
	serve(t, s, func(t *testing.T, b *bench) {
		long := strings.Repeat("a", 65000) + ".b.c"
		if err := b.client(root).Adopt(t.Context(), DeviceAccount, long); err != nil || got != "device "+long {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if log := b.log.String(); !strings.Contains(log, `msg="adoption asked for" account=device peer_uid=0`) || strings.Contains(log, "aaaa") {
			t.Errorf("logged: %.300s", log)
		}
		fail = cloudError(400)
		if err := b.client(self).Adopt(t.Context(), DeviceAccount, "a.b.c"); code(t, err) != Refused {
			t.Errorf("got %v, want refused", err)
		}
		fail = &net.OpError{Op: "dial", Err: io.EOF}
		if err := b.client(self).Adopt(t.Context(), DeviceAccount, "a.b.c"); code(t, err) != Unavailable {
			t.Errorf("got %v, want unavailable", err)
		}
		got = ""
		if err := b.client(member).Adopt(t.Context(), DeviceAccount, "a.b.c"); code(t, err) != Denied || got != "" {
			t.Errorf("a member of the group: got %v", err)
		}
	})
}

func TestAdoptTakesNothingElse(t *testing.T) {
	s := willing()
	s.Adopt = func(context.Context, string, string) error { t.Error("it is handed over"); return nil }
	serve(t, s, func(t *testing.T, b *bench) {
		for _, body := range []string{"", "a.b.c", "{}", `{"token":""}`, `{"token":7}`, `{"token":"a.b.c","more":1}`, `["a.b.c"]`,
			`{"token":"` + strings.Repeat("a", maxAdoption) + `"}`} {
			change := func(*http.Request) {}
			if body != "" {
				change = carrying(body)
			}
			got, answer := b.do(root, "POST", "/v1/accounts/device/adopt", change)
			if got != http.StatusBadRequest || strings.Contains(answer, "a.b.c") {
				t.Errorf("%.40q: got %d %s", body, got, answer)
			}
		}
		if got, _ := b.do(root, "POST", "/v1/accounts/device/renew", carrying("x")); got != http.StatusBadRequest {
			t.Errorf("another call with a body: got %d", got)
		}
	})
	if got := fmt.Sprintf("%v %+v %#v", Adoption{"a.b.c"}, Adoption{"a.b.c"}, Adoption{"a.b.c"}); strings.Contains(got, "a.b.c") {
		t.Errorf("an adoption prints as %s", got)
	}
}
