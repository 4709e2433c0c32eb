package agent

import (
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/ota"
	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// keyPair makes a key for signing releases, and the file with its public half.
func keyPair(t *testing.T, n byte) (release.SecretKey, string) {
	t.Helper()
	k := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+n)), ed25519.SeedSize)))
	id := []byte{n, 0, 0, 0, 0, 0, 0, 1}
	secret := slices.Concat([]byte("Ed\x00\x00B2"), make([]byte, 48), id, k, make([]byte, 32))
	key, err := release.ParseSecretKey([]byte(base64.StdEncoding.EncodeToString(secret)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return key, base64.StdEncoding.EncodeToString(slices.Concat([]byte("Ed"), id, k.Public().(ed25519.PublicKey)))
}

// signed returns the line for a payload of the module display.
func signed(t *testing.T, k release.SecretKey, version, payload string) string {
	t.Helper()
	d := release.NewDigest()
	_, _ = d.Write([]byte(payload))
	line, err := k.Sign(d, "display", version, 0)
	if err != nil {
		t.Fatal(err)
	}
	return line.String()
}

// offer puts a release of the module display into the cloud.
func (gw *gateway) offer(version, payload, notes string) {
	id := gw.cloud.Offer("display", version, cloudtest.Bytes([]byte(payload)))
	gw.cloud.Edit(id, func(r *cloudtest.Release) { r.Notes = notes })
}

// downloads counts the requests for a payload.
func (gw *gateway) downloads() (n int) {
	events, _ := gw.cloud.Events(0)
	for _, e := range events {
		if e.Kind == cloudtest.EventRequest && e.Op == "ota-file" {
			n++
		}
	}
	return n
}

// TestAReleaseIsJudgedByItsNotesBeforeItIsFetched offers what the installer
// would refuse, and then what it takes.
func TestAReleaseIsJudgedByItsNotesBeforeItIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		key, public := keyPair(t, 0)
		foreign, _ := keyPair(t, 1)
		gw.policy = gw.write(t, "install.conf", "[module.display]\nhook = file\nkeys = "+gw.write(t, "vendor.pub", public)+"\n")
		good, _, _ := strings.Cut(signed(t, key, "1.3", "payload"), " sig=")
		for _, bad := range []struct{ version, notes string }{
			{"1.9", "Nothing is said of it."},
			{"1.8", strings.ReplaceAll(good, "1.3", "1.8")},
			{"1.7", signed(t, foreign, "1.7", "payload")},
			{"1.6", signed(t, key, "1.3", "payload")},
			{"1.5", "ota1 sha256=0 size=7"},
		} {
			gw.offer(bad.version, "payload", bad.notes)
		}
		gw.start(t)
		defer gw.stop(t)
		time.Sleep(time.Minute)
		s := gw.g.modulesStatus()[0]
		if want := "1.9 is passed over: the notes hold no ota1 line"; s.Denied != want || s.Phase != ota.Idle.String() || gw.downloads() != 0 {
			t.Errorf("%s, %q, want %q; %d downloads", s.Phase, s.Denied, want, gw.downloads())
		}
		gw.offer("1.4", "payload", signed(t, key, "1.4", "payload"))
		if _, err := gw.g.updates.Check(t.Context(), "display"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := gw.g.modulesStatus()[0]; s.Phase != ota.Ready.String() || s.Offered != "1.4" || gw.downloads() != 1 {
			t.Errorf("%s %s, %q, %d downloads", s.Phase, s.Offered, s.Error, gw.downloads())
		}
	})
}

// TestAPayloadThatIsNotPromisedIsDenied has the cloud send other bytes than
// those that were signed.
func TestAPayloadThatIsNotPromisedIsDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		key, _ := keyPair(t, 0)
		gw.policy = gw.write(t, "install.conf", "") // says nothing of a module that is only fetched
		gw.offer("1.4", "pAyload", signed(t, key, "1.4", "payload"))
		gw.start(t)
		defer gw.stop(t)
		time.Sleep(time.Minute)
		s := gw.g.modulesStatus()[0]
		if !strings.HasPrefix(s.Outcome, "1.4 FAILED: not the payload of the ota1 line: its SHA-256 is ") || gw.downloads() != 1 {
			t.Errorf("%s, %q after %d downloads", s.Phase, s.Outcome, gw.downloads())
		}
		gw.offer("1.1", "old", "")
		time.Sleep(24 * time.Hour)
		if s := gw.g.modulesStatus()[0]; !strings.HasPrefix(s.Denied, "1.4 is passed over: not the payload") || gw.downloads() != 1 {
			t.Errorf("a day later: %q after %d downloads", s.Denied, gw.downloads())
		}
	})
}

func TestInstallingWhateverComesIsAProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.policy = gw.write(t, "install.conf", "[module.display]\nhook = file\nrequire = none\n")
		gw.conf.Modules[0].Policy = "install"
		gw.start(t)
		defer gw.stop(t)
		warns := func() bool {
			return slices.Contains(gw.g.status().Problems, "module display: install.conf says require = none: whatever the cloud offers is installed")
		}
		if !warns() {
			t.Errorf("problems %q", gw.g.status().Problems)
		}
		for _, text := range []string{"[module.display]\nrequire = digest\n", "", "[module.other]\nrequire = none\n"} {
			gw.write(t, "install.conf", text)
			if warns() {
				t.Errorf("it warns of %q", text)
			}
		}
	})
}
