package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// TestRefusalOfTakeoversOutlivesTheAgent for that broker, and not for ever.
func TestRefusalOfTakeoversOutlivesTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{TokenLife: 3 * takeoverAgain})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		restart := func() bool {
			gw.start(t)
			time.Sleep(time.Minute)
			s := gw.g.status().MQTT
			if s.State != "online" || s.BreakFirst != gw.g.session.BreakFirst {
				t.Fatalf("mqtt %+v", s)
			}
			return s.BreakFirst
		}
		if restart() {
			t.Error("break before make without a reason")
		}
		gw.g.session.OnBreakFirst()
		if other := "mqtts://other:8883"; gw.g.refusesTakeovers(other) {
			t.Errorf("%s has refused nothing", other)
		}
		gw.stop(t)
		if !restart() {
			t.Error("forgotten at a restart")
		}
		gw.stop(t)
		time.Sleep(takeoverAgain)
		if restart() {
			t.Error("never tried again")
		}
		gw.stop(t)
	})
}
