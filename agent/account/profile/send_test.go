package profile

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCarry(t *testing.T) {
	for _, tt := range []struct {
		profile, send, key string
		query, want        string
		header             http.Header
	}{
		{"placeos", "header", "", "a=1", "a=1", http.Header{"Authorization": {"Bearer t/1"}}},
		{"placeos", "parameter", "", "a=1", "a=1&bearer_token=t%2F1", http.Header{}},
		{"placeos", "parameter", "yes", "", "api-key=t%2F1", http.Header{}},
		{"placeos", "cookie", "", "", "", http.Header{"Cookie": {"bearer_token=t/1"}}},
		{"placeos", "cookie", "yes", "", "", http.Header{"Cookie": {"api-key=t/1"}}},
		{"beamery", "header", "", "", "", http.Header{"Authorization": {"Bearer t/1"}}},
		{"spoke-zone-user", "header", "", "", "", http.Header{"X-Access-Token": {"t/1"}}},
	} {
		p, ok := of(t, tt.profile).SendBy(tt.send)
		if !ok {
			t.Errorf("%s takes no token by %s", tt.profile, tt.send)
		}
		send := p.Send
		if tt.key != "" {
			send = p.Key
		}
		h := http.Header{}
		query, err := send.Carry(h, tt.query, "t/1")
		if err != nil || query != tt.want || len(h) != len(tt.header) {
			t.Errorf("%s by %s: query %q, header %v, %v", tt.profile, tt.send, query, h, err)
		}
		for name := range tt.header {
			if h.Get(name) != tt.header.Get(name) {
				t.Errorf("%s by %s: %s is %q", tt.profile, tt.send, name, h.Get(name))
			}
		}
	}
	for name, by := range map[string]string{"beamery": "parameter", "bace": "cookie", "placeos": "smoke"} {
		if _, ok := of(t, name).SendBy(by); ok {
			t.Errorf("%s takes a token by %s", name, by)
		}
	}
}

// TestNoTokenCarriesMore: whatever a cloud gives as a token becomes one cookie,
// one parameter and one header, or an error.
func TestNoTokenCarriesMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.StringOfN(rapid.RuneFrom([]rune("aZ0.-_~ ;,\"\\&=%+#\r\n\x00é")), 0, 30, -1).Draw(t, "token")
		p, _ := ByName("placeos")
		p, _ = p.SendBy(rapid.SampledFrom([]string{"header", "parameter", "cookie"}).Draw(t, "style"))
		r := http.Request{Header: http.Header{}}
		query, err := p.Send.Carry(r.Header, "a=1", token)
		if err != nil {
			if len(r.Header) > 0 || query != "" {
				t.Fatal("refused, and carried")
			}
			return
		}
		got, err := url.ParseQuery(query)
		if err != nil || got.Get("a") != "1" {
			t.Fatalf("query %q, %v", query, err)
		}
		carried := []string{got.Get("bearer_token"), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
		for _, c := range r.Cookies() {
			if c.Name == "bearer_token" {
				carried = append(carried, c.Value)
			}
		}
		if strings.Join(carried, "") != token || len(r.Header)+len(got) != 2 {
			t.Fatalf("carried %q: %q, %v", token, query, r.Header)
		}
		if back := "https://other/?x=" + token; p.Send.By == ByParameter && len(token) > 20 && strings.Contains(p.Send.Hide(back, token), token) {
			t.Fatalf("%q is not hidden", token)
		}
	})
}
