package agent

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

func TestBridgeSettings(t *testing.T) {
	c := conf.Default()
	c.Bridge.Prefix, c.Bridge.Publish = "cloud/", []string{"mon/#", "event/+"}
	got, err := bridgeSettings(c, bridgeLogin{"mrs/d/7", "spoke-zone-agent-7-bridge", "h.p.s", "-"})
	want := `# Kept by spoke-zone-agent: what is changed here is lost. See [bridge] in spoke-zone-agent.conf(5).
connection spoke-zone
address io.spoke.zone:8883
bridge_capath /etc/ssl/certs
bridge_protocol_version mqttv311
try_private false
notifications false
cleansession false
restart_timeout 5 300
remote_clientid spoke-zone-agent-7-bridge
remote_username h.p.s
remote_password -
topic mon/# out 1 cloud/ mrs/d/7/
topic event/+ out 1 cloud/ mrs/d/7/
topic ctrl/# in 1 cloud/ mrs/d/7/
`
	if err != nil || string(got) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
	for _, bad := range []bridgeLogin{
		{"mrs/d/7", "id", "h.p.s\nallow_anonymous true", "-"}, {"mrs/d/7", "id", "h.p.s", "two words"},
		{"a \"b\"", "id", "h.p.s", "-"}, {"mrs/d/7", "ïd", "h.p.s", "-"}, {"mrs/d/7", "id\x00", "h.p.s", "-"},
	} {
		if got, err := bridgeSettings(c, bad); err == nil {
			t.Errorf("%q:\n%s", bad, got)
		} else if strings.Contains(err.Error(), "h.p.s") {
			t.Errorf("the error tells the token: %v", err)
		}
	}
}

func TestBridgeFollowsTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newQuietGateway(t, cloud)
		gw.conf.Bridge.File = gw.dir + "/bridge.conf"
		gw.start(t)
		done := make(chan struct{})
		go func() { defer close(done); _ = gw.g.keepBridge(t.Context()) }()
		check := func() {
			t.Helper()
			text, err := os.ReadFile(gw.conf.Bridge.File)
			info, serr := os.Stat(gw.conf.Bridge.File)
			if err != nil || serr != nil || !strings.Contains(string(text), "\nremote_username "+gw.inUse()+"\n") || info.Mode() != 0o600 {
				t.Errorf("the file has mode %v and not the token in use: %v", info.Mode(), err)
			}
		}
		time.Sleep(time.Minute)
		check()
		first := gw.inUse()
		time.Sleep(cloudtest.DefaultTokenLife)
		check()
		if gw.inUse() == first {
			t.Error("the token was not renewed")
		}
		gw.stop(t)
	})
}
