package agent

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func (gw *gateway) identityFile(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(gw.conf.Paths.Identity)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// inUse is the token that the agent presents.
func (gw *gateway) inUse() string {
	s, _ := gw.g.keeper.Status()
	return s.Token.Raw()
}

func TestALostDeviceAdoptsANewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.start(t)
		time.Sleep(time.Hour)
		cloud.SetOffset(30 * 24 * time.Hour) // as after a month in a drawer
		cloud.Drop()
		time.Sleep(time.Hour)
		s := gw.g.status()
		if s.Token.State != "expired" || s.MQTT.State == "online" || s.Token.Spent != 1 ||
			!strings.Contains(strings.Join(s.Problems, "\n"), "spoke-zone-agent adopt") {
			t.Fatalf("before: %+v, %s, %q", s.Token, s.MQTT.State, s.Problems)
		}
		if text := line(gw.parts()); !strings.HasPrefix(text, "TOKEN LOST since ") {
			t.Errorf("status line %q", text)
		}
		raw := cloud.Issue(gw.device.ID, 0)
		if err := gw.g.adopt(t.Context(), local.DeviceAccount, raw); err != nil {
			t.Fatalf("adopt: %v", err)
		}
		time.Sleep(time.Minute)
		if s := gw.g.status(); s.Token.State != "valid" || s.MQTT.State != "online" || !s.Token.Stored.State || !s.Token.Stored.IdentityFile || len(s.Problems) > 0 {
			t.Errorf("afterwards: %+v, %+v, %q", s.Token, s.MQTT, s.Problems)
		}
		if gw.inUse() != raw || !strings.Contains(gw.identityFile(t), "mqtt_username = "+raw+"\n") {
			t.Errorf("another token is in use, or the identity file holds another:\n%s", gw.identityFile(t))
		}
		gw.stop(t)
		gw.start(t)
		time.Sleep(time.Minute)
		if gw.inUse() != raw {
			t.Error("after a restart another token is in use")
		}
		gw.stop(t)
	})
}

func TestAnUnprovisionedDeviceAdoptsATokenWithoutAnIdentityFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.conf.Identity.CPUID, gw.conf.Identity.UUID = gw.device.CPUID, gw.device.UUID
		if err := os.Remove(gw.conf.Paths.Identity); err != nil {
			t.Fatal(err)
		}
		gw.start(t)
		time.Sleep(time.Minute)
		if s := gw.g.status(); s.Token.State != "none" || s.Identity.Error == "" {
			t.Fatalf("before: %+v", s.Token)
		}
		raw := cloud.Issue(gw.device.ID, 0)
		if err := gw.g.adopt(t.Context(), local.DeviceAccount, raw); err != nil {
			t.Fatalf("adopt: %v", err)
		}
		time.Sleep(time.Minute)
		if s := gw.g.status(); gw.inUse() != raw || s.MQTT.State != "online" || !s.Token.Stored.State {
			t.Errorf("afterwards: %+v, %+v", s.Token, s.MQTT)
		}
		if _, err := os.Stat(gw.conf.Paths.Identity); err == nil {
			t.Error("an identity file was made: it is the vendor's to make")
		}
		gw.stop(t)
	})
}

func TestATokenThatTheCloudRefusesChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		other := cloud.AddDevice(cloudtest.Device{CPUID: "another", UUID: "another"})
		gw.start(t)
		time.Sleep(time.Hour)
		before, file := gw.inUse(), gw.identityFile(t)
		for _, tt := range []struct{ what, raw, want string }{
			{"another device's", cloud.Issue(other.ID, 0), "nothing was changed: POST /loginDevice: 400"},
			{"one that nobody issued", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "nothing was changed: POST /loginDevice: 4"},
			{"no token", "hello", "not a JSON Web Token"},
			{"nothing", "", "not a JSON Web Token"},
		} {
			err := gw.g.adopt(t.Context(), local.DeviceAccount, tt.raw)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.raw != "" && strings.Contains(err.Error(), tt.raw) {
				t.Errorf("%s: got %v", tt.what, err)
			}
		}
		var answer *local.Error
		if err := gw.g.adopt(t.Context(), "other", before); !errors.As(err, &answer) || answer.Code != local.NotFound {
			t.Errorf("another account: got %v", err)
		}
		cloud.MustSet(cloudtest.Unreachable, cloudtest.Share(1))
		if err := gw.g.adopt(t.Context(), local.DeviceAccount, cloud.Issue(gw.device.ID, 0)); err == nil {
			t.Error("a token is adopted without the cloud's word")
		}
		cloud.MustSet(cloudtest.Unreachable, cloudtest.Switch{})
		time.Sleep(time.Hour)
		if s := gw.g.status(); gw.inUse() != before || gw.identityFile(t) != file || s.Token.State != "valid" || s.Token.Refusal != 0 || s.Identity.Advice != "" || s.MQTT.State != "online" {
			t.Errorf("afterwards: %+v, %+v", s.Token, s.MQTT)
		}
		gw.stop(t)
	})
}

// A token in its window is renewed by the login that proves it.
func TestAnAdoptedTokenMayBeRenewedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.start(t)
		time.Sleep(time.Hour)
		raw := cloud.Issue(gw.device.ID, 6*time.Hour)
		if err := gw.g.adopt(t.Context(), local.DeviceAccount, raw); err != nil {
			t.Fatalf("adopt: %v", err)
		}
		time.Sleep(time.Minute)
		used := gw.inUse()
		logins := cloud.Logins()
		if last := logins[len(logins)-1]; used == raw || used != last.Given && cloud.Expires(used).Sub(cloud.Now()) < 24*time.Hour {
			t.Errorf("the renewed one is not in use: %+v", gw.g.status().Token)
		}
		if !strings.Contains(gw.identityFile(t), used) {
			t.Error("the identity file does not hold it")
		}
		gw.stop(t)
	})
}

func TestAdoptingTheTokenInUseIsNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.start(t)
		time.Sleep(time.Hour)
		before := gw.inUse()
		if err := gw.g.adopt(t.Context(), local.DeviceAccount, before); err != nil || gw.inUse() != before {
			t.Errorf("got %v", err)
		}
		gw.stop(t)
	})
}
