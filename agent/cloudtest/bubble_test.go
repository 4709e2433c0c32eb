package cloudtest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A whole simulated day over HTTP and MQTT, with TLS for HTTP, must leave no
// goroutine behind: the bubble fails if one does.
func TestCloudLivesADayInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Options{TokenLife: 36 * time.Hour})
		g.addrs.API = MemoryTLSAddrs.API
		client, commands, err := g.connect()
		if err != nil {
			t.Fatal(err)
		}
		subscribed := client.Subscribe(g.Base+"/ctrl/#", 1, nil)
		if subscribed.Wait(); subscribed.Error() != nil {
			t.Fatal(subscribed.Error())
		}
		renewed := 0
		for hour := range 24 {
			time.Sleep(time.Hour)
			a := g.login()
			if a.Status == 201 {
				renewed++
			}
			p := client.Publish(g.Base+"/mon/versions", 1, false, fmt.Sprintf(`{"display":"1.%d"}`, hour))
			if p.Wait(); p.Error() != nil {
				t.Fatal(p.Error())
			}
			if err := g.cloud.Command(g.ID, "hello", []byte("there")); err != nil {
				t.Fatal(err)
			}
			if m := <-commands; m.Topic() != g.Base+"/ctrl/hello" {
				t.Fatalf("got a message on %s", m.Topic())
			}
		}
		if renewed != 1 { // at 24 h, when 12 h are left
			t.Errorf("got %d renewals in the first day of a token of 36 h; want 1", renewed)
		}
		if got := g.cloud.Versions(g.ID)["display"]; got != "1.23" {
			t.Errorf("got version %q; want the last published", got)
		}
	})
}

// While nothing happens nothing may run: months of silence must cost nothing.
func TestCloudIsIdleWhenNothingHappens(t *testing.T) {
	start := time.Now()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Options{TokenLife: 1000 * 24 * time.Hour})
		if _, _, err := g.connect(func(o *mqtt.ClientOptions) { o.SetKeepAlive(0) }); err != nil {
			t.Fatal(err)
		}
		g.get("/api/v2/ota-files").want(t, 200)
		time.Sleep(365 * 24 * time.Hour)
	})
	t.Logf("a simulated year took %v", time.Since(start))
}
