package agent

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// TestWhatAProgramWantsKept is kept while there is no session, and nothing else.
func TestWhatAProgramWantsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.start(t)
		time.Sleep(time.Minute)
		publish := func(keep string) error {
			return gw.g.publish(t.Context(), local.Publication{Topic: "mon/door", Keep: keep, Payload: new(string)})
		}
		if err := publish(local.KeepNone); err != nil {
			t.Errorf("with a session: %v", err)
		}
		if n := gw.g.session.Queue().Published; n != 0 {
			t.Errorf("%d messages on disk", n)
		}
		cloud.MustSet(cloudtest.Unreachable, cloudtest.Share(1))
		cloud.Drop()
		synctest.Wait()
		var refused *local.Error
		if err := publish(local.KeepNone); !errors.As(err, &refused) || refused.Code != local.Unavailable {
			t.Errorf("without a session: %v", err)
		}
		for _, keep := range []string{local.KeepAll, local.KeepLatest, local.KeepLatest} {
			if err := publish(keep); err != nil {
				t.Errorf("keep %s: %v", keep, err)
			}
		}
		if n := gw.g.session.Queue().Messages; n != 2 {
			t.Errorf("%d messages wait, want 2", n)
		}
		gw.stop(t)
	})
}
