package main

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/placeos"
)

// startClouds simulates Spoke Zone at $CLOUD and $BROKER, and PlaceOS at
// $PLACEOS. $DEAD is a token of the device that can be renewed no more, and
// $BACK a free address of this machine to which a browser may come back.
func startClouds(ts *testscript.TestScript, neg bool, args []string) {
	cloud := cloudtest.New(cloudtest.Options{})
	ts.Defer(cloud.Close)
	addrs, err := cloud.Listen(cloudtest.Listeners{})
	ts.Check(err)
	device := cloud.AddDevice(cloudtest.Device{})
	cloud.AddUser(cloudtest.User{Username: "op", Password: "operators-password"})
	free, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	back := "http://" + free.Addr().String()
	ts.Check(free.Close())
	place := placeos.New(placeos.Options{})
	ts.Defer(place.Close)
	at, err := place.Listen("", "", nil)
	ts.Check(err)
	place.AddUser(placeos.User{Email: "me@example.com", Password: "persons-password"})
	place.AddApplication(placeos.Application{ID: "panel", Redirects: []string{back, "https://panel.example/back"}, Scopes: []string{"public"}})
	for name, value := range map[string]string{
		"CLOUD": addrs.API, "BROKER": addrs.MQTT, "PLACEOS": at, "BACK": back, "DEAD": cloud.Issue(device.ID, -100*time.Hour),
		"CPU": device.CPUID, "UUID": device.UUID, "DEVICE": strconv.Itoa(device.ID),
	} {
		ts.Setenv(name, value)
	}
}

var address = regexp.MustCompile(`(?m)^http\S+/auth/oauth/authorize\S+$`)

// browse FILE [PAGE] is a person with a browser: it waits for an address in the
// file, logs in at PlaceOS, opens the address, and goes where that leads. With a
// PAGE it writes that address there instead. With "cookie" as FILE it logs in
// alone, and writes its cookie there.
func browse(ts *testscript.TestScript, neg bool, args []string) {
	stay := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := stay.PostForm(ts.Getenv("PLACEOS")+"/auth/signin", url.Values{"email": {"me@example.com"}, "password": {"persons-password"}})
	ts.Check(err)
	res.Body.Close()
	var cookie *http.Cookie
	for _, c := range res.Cookies() {
		if c.Name == "user" {
			cookie = c
		}
	}
	if args[0] == "cookie" {
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(cookie.Name+"="+cookie.Value+"\n"), 0o600))
		return
	}
	where := ""
	for range 6000 {
		text, _ := os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		if where = address.FindString(string(text)); where != "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	r, err := http.NewRequest(http.MethodGet, where, nil)
	ts.Check(err)
	r.AddCookie(cookie)
	res, err = stay.Do(r)
	ts.Check(err)
	res.Body.Close()
	to := res.Header.Get("Location")
	if len(args) > 1 {
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(to+"\n"), 0o600))
		return
	}
	stranger, err := stay.Get(ts.Getenv("BACK") + "/?state=guessed&code=x")
	ts.Check(err)
	stranger.Body.Close()
	res, err = stay.Get(to)
	ts.Check(err)
	res.Body.Close()
	if stranger.StatusCode != http.StatusNotFound || res.StatusCode != http.StatusOK {
		ts.Fatalf("a stranger's answer got %s, the cloud's %s", stranger.Status, res.Status)
	}
}
