package cloudtest

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host/hosttest"
)

func newOffice(t *testing.T) (*Cloud, Device, *hosttest.Caller) {
	t.Helper()
	c := New(Options{})
	d := c.AddDevice(Device{})
	c.AddUser(User{Username: "me", Password: "p"})
	c.AddUser(User{Username: "root", Password: "p", Super: true})
	c.AddUser(User{Username: "gone", Password: "p", Locked: true})
	return c, d, hosttest.Of(t, inMemory{c})
}

// inMemory gives a Cloud the methods by which hosttest finds it.
type inMemory struct{ *Cloud }

func (m inMemory) Client() *http.Client { return m.HTTPClient() }
func (m inMemory) URL() string          { return m.Addrs().API }

func userToken(c *hosttest.Caller, name string) string {
	return c.Do("POST", "/login", hosttest.JSON(map[string]string{"username": name, "password": "p"})).Want(200).Text("token")
}

func TestUsersLogIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, _, c := newOffice(t)
		a := c.Do("POST", "/login", hosttest.JSON(`{"username":"me","password":"p"}`)).Want(200, fmt.Sprintf(`"expires":%d`, time.Now().Add(DefaultUserLife).Unix()), `"username":"me"`)
		a.Members("token", "expires", "user")
		token := a.Text("token")
		for _, test := range []struct {
			part   hosttest.Part
			status int
		}{
			{hosttest.JSON(`{"username":"me","password":"x"}`), 401}, {hosttest.JSON(`{"username":"x","password":"p"}`), 401}, {hosttest.JSON(`{}`), 401}, {hosttest.JSON(``), 401},
			{hosttest.Form("username", "me", "password", "p"), 401}, {hosttest.JSON(`{"username":"gone","password":"p"}`), 403}, {hosttest.JSON(`{"username":"gone","password":"x"}`), 401},
		} {
			c.Do("POST", "/login", test.part).Want(test.status, "message")
		}
		time.Sleep(DefaultUserLife - time.Nanosecond)
		if !cloud.ValidUser(token) {
			t.Error("the token ended early")
		}
		if time.Sleep(time.Nanosecond); cloud.ValidUser(token) {
			t.Error("the token works at its expiry")
		}
	})
}

func TestSecretsOfADevice(t *testing.T) {
	cloud, d, c := newOffice(t)
	path := fmt.Sprintf("/api/v2/devices/%d/secrets", d.ID)
	me, root := hosttest.Header("X-Access-Token", userToken(c, "me")), hosttest.Header("X-Access-Token", userToken(c, "root"))
	right, wrong := hosttest.JSON(map[string]string{"cpuId": d.CPUID}), hosttest.JSON(`{"cpuId":"x"}`)
	a := c.Do("GET", path, root).Want(200, d.UUID, d.CPUID)
	a.Members("cpuId", "uuid", "token")
	if at := cloud.Expires(a.Text("token")); time.Until(at) < DefaultTokenLife-time.Minute {
		t.Errorf("got a token until %v; want a new one", at)
	}
	c.Do("GET", path, me, right).Want(200, d.UUID)
	c.Do("GET", path, me, wrong).Want(400, "invalid-field", "cpuId")
	c.Do("GET", path, me).Want(400, "required-field")
	c.Do("GET", "/api/v2/devices/999/secrets", root).Want(404, "entity-not-found")
	c.Do("GET", path, right).Want(401)
	c.Do("GET", path, hosttest.Header("X-Access-Token", cloud.Issue(d.ID, 0)), right).Want(403)
	c.Do("GET", "/api/v2/ota-files", root).Want(401) // a user's token is no device's
}
