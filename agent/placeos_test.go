package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/placeos"
)

// TestPlaceOSTakesATokenInThreeWays has the proxy and the agent's own calls send
// a token or a key in a header, in the query and in a cookie.
func TestPlaceOSTakesATokenInThreeWays(t *testing.T) {
	for _, send := range []string{"header", "parameter", "cookie"} {
		for name, secret := range map[string]string{
			"token": "username = me@example.com\npassword = p\nclient_id = c\n", "key": "api_key = key1.abc\n",
		} {
			t.Run(send+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := placeos.New(placeos.Options{})
					defer s.Close()
					s.AddUser(placeos.User{Email: "me@example.com", Password: "p"})
					s.AddApplication(placeos.Application{ID: "c", Scopes: []string{"public"}})
					s.AddKey(placeos.Key{ID: "key1", Secret: "abc", User: "me@example.com", Scopes: []string{"public"}})
					text := "[account]\nprofile = placeos\nurl = " + s.URL() + "\nsend = " + send + "\n" + secret
					withAccount(t, s.DialContext, text, func(t *testing.T, gw *gateway) {
						acc, err := gw.g.accounts.get("building")
						if err != nil {
							t.Fatal(err)
						}
						if status, _, _ := ask(t, gw.g, "GET", "/api/engine/v2/api_keys/inspect?a=1"); status != 200 {
							t.Errorf("the proxy got %d", status)
						}
						time.Sleep(7 * time.Hour) // the agent tries the key, or refreshes and retires the token
						if st, _ := acc.Status(); st.LastError != "" || st.Rejected != "" || st.Logins > 1 {
							t.Errorf("the agent's own calls: %s, %s, %d logins", st.LastError, st.Rejected, st.Logins)
						}
						if n := s.Count("revoke"); n == 0 && name == "token" {
							t.Error("no refresh token was retired")
						}
					})
				})
			})
		}
	}
}
