package agent

// What bad input gets. Each row of the promise, and the tests that show it:
//
//	no identity file, no token, not a JWT, empty after a power cut
//	  here: TestIdentityThatCannotBeUsedIsWaitedFor
//	  conf: TestIdentityThatCannotBeUsedSaysWhy, TestWatchTellsEveryKindOfChange
//	  account: TestUnprovisionedWaitsForAToken, TestWhatIsNoToken
//	a token without exp, with 16 KiB of claims, with absurd times
//	  here: TestOddTokensAreUsed
//	  account: TestTokenClaims; clock: TestTokensOfAbsurdTimesAreForgotten
//	  conf: TestTokenWith16KiBOfClaimsIsRead
//	loginDevice answers 400, 401 or 403
//	  here: TestRefusedLoginIsRepeatedSlowly
//	  account: TestOutcomesHaveTheirOwnWaits, TestTokenOfAPersonIsTriedAtOnce
//	HTML, truncated JSON, wrong types, ids as strings, a 3xx to another host
//	  here: TestBadAnswersNameTheirEndpoint, TestCaptivePortalCostsOnlyTime, TestTokenStaysAtItsHost
//	  api: TestOTAFilesRefusesWhatIsNoList, TestErrorBodies, TestJSONCallsStayAtTheirHost
//	an OTA name, version or note that is hostile
//	  here: TestHostileReleasesStayOutside
//	  ota: TestHostileNamesAreRefused, TestManagerRefusesHostileReleases
//	a full or read-only disk, EIO on fsync
//	  here: TestBadDiskCostsOnlyDurability
//	  account: TestTokenIsStoredOnceTheDiskTakesIt, TestReadOnlyIdentityFileDoesNotMatter
//	  conf: TestWriteTokenOnAFullFileSystem, TestWriteTokenOnAReadOnlyFileSystem, TestWriteTokenFailsWhole
//	  ota: TestDownloadWaitsWhenTheDiskFills, TestDownloadNeverTrustsAFileAfterAFailedSync
//	a malformed, huge, double-encoded or binary command payload
//	  here: TestCommandsOfAnyPayloadAreRefused, TestHugeCommandIsPassedOver
//	  mqtt: TestMessagesTooLargeAreLeftOut, TestPacketLimitIsExact, TestStuckOnMessageDropsAndStaysOnline
//	a spool file that is empty, a link, a device, another user's, too large
//	  upload: TestHostileSpool, TestAcceptable, TestFileThatIsOpenForWritingIsNotTaken

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// A journal keeps what is logged.
type journal struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.String()
}

func (gw *gateway) listen() *journal {
	j := new(journal)
	gw.log = slog.NewTextHandler(j, nil)
	return j
}

// provision writes the identity file with a token.
func (gw *gateway) provision(t *testing.T, token string) {
	t.Helper()
	gw.write(t, "spoke-zone.conf", fmt.Sprintf("[device]\ncpu_id = %s\nuuid = %s\nmqtt_username = %s\nmqtt_password = x\n",
		gw.device.CPUID, gw.device.UUID, token))
}

// renewable provisions it with a token whose window is open.
func (gw *gateway) renewable(t *testing.T, life time.Duration) string {
	t.Helper()
	gw.device.Shape = cloudtest.Shape{NoIssuedAt: true} // else half its life comes first
	gw.cloud.AddDevice(gw.device)
	token := gw.cloud.Issue(gw.device.ID, life)
	gw.provision(t, token)
	return token
}

// newQuietGateway is a gateway of few words, for tests of many days.
func newQuietGateway(t *testing.T, cloud *cloudtest.Cloud) *gateway {
	t.Helper()
	gw := newGateway(t, cloud)
	gw.conf.Telemetry.VersionsInterval, gw.conf.MQTT.KeepAlive, gw.conf.OTA.CheckInterval = 24*time.Hour, 20*time.Minute, 24*time.Hour
	return gw
}

// all is what the status says, as one text.
func (gw *gateway) all() string {
	b, err := json.Marshal(gw.g.status())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// wants reports parts that are missing in text.
func wants(t *testing.T, where, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s does not say %q: %s", where, p, text)
		}
	}
}

// leaks reports tokens that went to another host.
func leaks(t *testing.T, cloud *cloudtest.Cloud) {
	t.Helper()
	if n := cloud.Counts()[cloudtest.EventLeak]; n != 0 {
		t.Errorf("%d tokens went to another host", n)
	}
}

func TestIdentityThatCannotBeUsedIsWaitedFor(t *testing.T) {
	const missing = "no file at all"
	for name, tt := range map[string]struct {
		text string
		says string
	}{
		"no file":                 {missing, "no identity file"},
		"no token":                {"[device]\ncpu_id = 1\n", "no mqtt_username"},
		"empty token":             {"mqtt_username =\n", "mqtt_username is empty"},
		"not a JWT":               {"mqtt_username = changeme\n", "not a JSON Web Token"},
		"empty after a power cut": {"", "empty"},
		"zeros after a power cut": {strings.Repeat("\x00", 300), "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := cloudtest.New(cloudtest.Options{})
			defer cloud.Close()
			gw := newGateway(t, cloud)
			gw.conf.Paths.Run = shortDir(t)
			if tt.text == missing {
				if err := os.Remove(gw.conf.Paths.Identity); err != nil {
					t.Fatal(err)
				}
			} else {
				gw.write(t, "spoke-zone.conf", tt.text)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- Run(ctx, Options{ConfigPath: settingsOf(gw, t, ""), Log: slog.New(slog.DiscardHandler), Dial: cloud.DialContext})
			}()
			client := &local.Client{Socket: filepath.Join(gw.conf.Paths.Run, "agent.sock")}
			var s local.Status
			until := func(what string, good func() bool) {
				t.Helper()
				for deadline := time.Now().Add(time.Minute); !good(); time.Sleep(20 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("never %s: %+v", what, s)
					}
					s, _ = client.Status(ctx)
				}
			}
			until("an answer with a reason", func() bool { return s.Token.Reason != "" && s.Identity.Error != "" })
			if s.Identity.State != "unprovisioned" || s.Identity.File != gw.conf.Paths.Identity || s.Token.State != "none" {
				t.Errorf("identity %+v, token %+v", s.Identity, s.Token)
			}
			wants(t, "identity", s.Identity.Error, tt.says)
			wants(t, "problems", strings.Join(s.Problems, "\n"), tt.says)
			gw.provision(t, cloud.Issue(gw.device.ID, 0))
			until("online", func() bool { return s.MQTT.State == "online" && s.Identity.State == "provisioned" })
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOddTokensAreUsed(t *testing.T) {
	for name, shape := range map[string]cloudtest.Shape{
		"without exp":             {Expiry: "none"},
		"without exp and iat":     {Expiry: "none", NoIssuedAt: true},
		"16 KiB of claims":        {Extra: map[string]any{"note": strings.Repeat("x", 16<<10)}},
		"exp beyond any year":     {Expiry: "none", Extra: map[string]any{"exp": 1e300}},
		"exp in the year 2242":    {Expiry: "none", Extra: map[string]any{"exp": 1<<33 - 1}},
		"exp before 1970":         {Expiry: "none", Extra: map[string]any{"exp": -1}},
		"exp long ago":            {Expiry: "none", Extra: map[string]any{"exp": 86400}},
		"times of another type":   {Expiry: "none", NoIssuedAt: true, Extra: map[string]any{"exp": "soon", "iat": []int{1}}},
		"issued in the year 2200": {NoIssuedAt: true, Extra: map[string]any{"iat": 7258118400}},
		"issued after its expiry": {NoIssuedAt: true, Extra: map[string]any{"iat": 981173106}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := cloudtest.New(cloudtest.Options{})
				defer cloud.Close()
				gw := newQuietGateway(t, cloud)
				gw.device.Shape = shape
				cloud.AddDevice(gw.device)
				factory := cloud.Issue(gw.device.ID, 0)
				gw.provision(t, factory)
				gw.start(t)
				time.Sleep(time.Minute)
				if s := gw.g.status(); s.MQTT.State != "online" || s.Identity.State != "provisioned" {
					t.Errorf("after a minute: %s", gw.all())
				}
				time.Sleep(8 * 24 * time.Hour)
				if s := gw.g.status(); s.MQTT.State != "online" || !gw.usable() {
					t.Errorf("after 8 days: %s", gw.all())
				}
				gw.stop(t)
			})
		})
	}
}

// While the window is open each chance may be the last, and a cloud that refuses
// may be wrong: it is asked every few minutes. Afterwards it is asked slowly.
func TestRefusedLoginIsRepeatedSlowly(t *testing.T) {
	for _, status := range []int{400, 401, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := cloudtest.New(cloudtest.Options{})
				defer cloud.Close()
				gw := newQuietGateway(t, cloud)
				old := gw.renewable(t, 2*time.Hour)
				cloud.MustSet(cloudtest.LoginRefused, cloudtest.Always.With(status))
				gw.start(t)
				time.Sleep(60 * time.Hour)
				s := gw.g.status()
				if s.Token.State != "refused" && s.Token.State != "expired" || s.Token.Tail != old[len(old)-6:] {
					t.Errorf("token %+v", s.Token)
				}
				wants(t, "token", s.Token.LastError, "POST /loginDevice", fmt.Sprint(status), "Login refused")
				wants(t, "problems", strings.Join(s.Problems, "\n"), "POST /loginDevice", fmt.Sprint(status))
				closes := cloud.Expires(old).Add(cloudtest.DefaultGrace)
				open, logins := 0, cloud.Logins()
				for i, l := range logins {
					if l.At.Before(closes) {
						open++
					} else if i+1 < len(logins) {
						if gap := logins[i+1].At.Sub(l.At); gap < 15*time.Minute || gap > 6*time.Hour+time.Minute {
							t.Errorf("login %d came %v after the one before", i+1, gap)
						}
					}
				}
				if late := len(logins) - open; open < 8 || open > 500 || late < 5 {
					t.Errorf("%d logins in the window's 14 hours and %d in 46 hours after it", open, late)
				}
				if text, err := os.ReadFile(gw.conf.Paths.Identity); err != nil || !strings.Contains(string(text), old) {
					t.Errorf("the old token is gone from the identity file, %v", err)
				}
				gw.stop(t)
			})
		})
	}
}

// badAnswers are what a cloud, or something in its place, may say.
var badAnswers = []cloudtest.Fault{
	cloudtest.HTMLError, cloudtest.TruncatedJSON, cloudtest.WrongTypes, cloudtest.StringIDs, cloudtest.CaptivePortal,
}

func TestBadAnswersNameTheirEndpoint(t *testing.T) {
	for _, fault := range badAnswers {
		t.Run(string(fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := cloudtest.New(cloudtest.Options{})
				defer cloud.Close()
				gw := newGateway(t, cloud)
				gw.renewable(t, 6*time.Hour)
				cloud.Offer("display", "2.0.0", cloudtest.Seeded(1, 1<<16))
				cloud.MustSet(fault, cloudtest.Always)
				gw.start(t)
				time.Sleep(2 * time.Hour)
				s := gw.g.status()
				if fault == cloudtest.StringIDs { // as good as numbers
					if s.OTA[0].Phase != "READY" || len(s.Problems) > 0 {
						t.Errorf("%s", gw.all())
					}
				} else {
					wants(t, "token", s.Token.LastError, "POST /loginDevice: ")
					wants(t, "ota", s.OTA[0].Error, "GET /api/v2/ota-files: ")
					if s.MQTT.State != "online" {
						t.Errorf("mqtt %+v", s.MQTT)
					}
				}
				cloud.MustSet(fault, cloudtest.Off)
				time.Sleep(2 * time.Hour)
				if s := gw.g.status(); s.Token.State != "valid" || s.OTA[0].Phase != "READY" || len(s.Problems) > 0 {
					t.Errorf("two hours after it ended: %s", gw.all())
				}
				leaks(t, cloud)
				gw.stop(t)
			})
		})
	}
}

func TestCaptivePortalCostsOnlyTime(t *testing.T) {
	for _, kind := range []string{"redirect", "page"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := cloudtest.New(cloudtest.Options{})
				defer cloud.Close()
				gw := newQuietGateway(t, cloud)
				gw.renewable(t, 3*time.Hour)
				cloud.MustSet(cloudtest.CaptivePortal, cloudtest.Always.With(kind))
				cloud.Offer("display", "2.0.0", cloudtest.Seeded(1, 1<<16))
				gw.start(t)
				before, err := os.ReadFile(gw.conf.Paths.Identity)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(6 * time.Hour) // the token expires meanwhile
				s := gw.g.status()
				if after, err := os.ReadFile(gw.conf.Paths.Identity); err != nil || string(after) != string(before) {
					t.Errorf("the portal changed the identity file, %v:\n%s", err, after)
				}
				if s.OTA[0].Phase != "IDLE" || s.Token.Renewals != 0 {
					t.Errorf("the portal was taken for the cloud: %s", gw.all())
				}
				cloud.MustSet(cloudtest.CaptivePortal, cloudtest.Off)
				time.Sleep(2 * time.Hour)
				if s := gw.g.status(); s.Token.State != "valid" || s.MQTT.State != "online" || s.OTA[0].Phase != "READY" || len(s.Problems) > 0 {
					t.Errorf("two hours after the portal: %s", gw.all())
				}
				leaks(t, cloud)
				gw.stop(t)
			})
		})
	}
}

func TestTokenStaysAtItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.conf.Cloud.URL = "https://127.0.0.1" // so that 127.0.0.2 is fit to hold files
		cloud.Offer("display", "2.0.0", cloudtest.Seeded(1, 1<<16))
		cloud.MustSet(cloudtest.RedirectFiles, cloudtest.Always)
		gw.start(t)
		time.Sleep(time.Hour)
		if s := gw.g.status(); s.OTA[0].Phase != "READY" {
			t.Errorf("ota %+v", s.OTA[0])
		}
		events, _ := cloud.Events(0)
		if !slices.ContainsFunc(events, func(e cloudtest.Event) bool { return e.Kind == cloudtest.EventDownload && e.Op == "files" }) {
			t.Error("the file did not come from the other host")
		}
		leaks(t, cloud)
		gw.stop(t)
	})
}

func TestHostileReleasesStayOutside(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, release := range map[string]map[string]any{
		"id with a path":        {"id": "../../../../tmp/x", "version": "9.1"},
		"id of dots":            {"id": "..", "version": "9.1"},
		"version with a slash":  {"id": 9, "version": "9.1/../../x"},
		"version of dots":       {"id": 9, "version": ".."},
		"control characters":    {"id": 9, "version": "9.1\x1b[2J\x00"},
		"version of 1 MB":       {"id": 9, "version": "9" + long},
		"notes of 1 MB":         {"id": 9, "version": "9.1", "releaseNotes": long},
		"notes with a terminal": {"id": 9, "version": "9.1", "releaseNotes": "\x1b]0;owned\a"},
		"another module's":      {"id": 9, "version": "9.1", "module": "../display"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := cloudtest.New(cloudtest.Options{})
				defer cloud.Close()
				gw := newGateway(t, cloud)
				log := gw.listen()
				good := map[string]any{"id": 7, "module": "display", "version": "2.0.0", "isActive": true}
				cloud.Offer("display", "2.0.0", cloudtest.Seeded(1, 1<<16)) // id 7
				cloud.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != "/api/v2/ota-files" {
						return false
					}
					hostile := map[string]any{"module": "display", "isActive": true}
					for k, v := range release {
						hostile[k] = v
					}
					w.Header().Set("Content-Type", "application/json")
					_ = json.NewEncoder(w).Encode([]any{hostile, good})
					return true
				})
				gw.start(t)
				before := tree(t, filepath.Dir(gw.dir), gw.conf.Paths.State)
				time.Sleep(time.Hour)
				s := gw.g.status()
				if s.OTA[0].Phase != "READY" || s.OTA[0].Offered != "2.0.0" {
					t.Errorf("ota %+v", s.OTA[0])
				}
				if after := tree(t, filepath.Dir(gw.dir), gw.conf.Paths.State); !slices.Equal(before, after) {
					t.Errorf("outside the state directory there is now\n%q, before\n%q", after, before)
				}
				if text := log.String(); name != "another module's" && !strings.Contains(text, "refused") && !strings.Contains(text, "passed over") {
					t.Errorf("nothing says that it was refused: %s", text)
				}
				if text := log.String() + gw.all(); strings.ContainsAny(text, "\x1b\x00\a") || len(text) > 1<<16 {
					t.Errorf("%d bytes of log and status, or control characters in them", len(text))
				}
				gw.stop(t)
			})
		})
	}
}

// tree lists the files below dir, but for those below one of it.
func tree(t *testing.T, dir, but string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path == but {
			return fs.SkipDir
		}
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A badDisk refuses one of the calls of a durable write.
type badDisk struct {
	atomicfile.OS
	call string
	err  error
}

type badFile struct {
	atomicfile.File
	d *badDisk
}

func (d *badDisk) fail(call string) error {
	if call == d.call {
		return &fs.PathError{Op: call, Path: "tokens.tmp", Err: d.err}
	}
	return nil
}

func (d *badDisk) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	if err := d.fail("create"); err != nil {
		return nil, err
	}
	f, err := d.OS.Create(name, perm)
	return badFile{f, d}, err
}

func (f badFile) Write(p []byte) (int, error) {
	if err := f.d.fail("write"); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f badFile) Sync() error {
	if err := f.d.fail("fsync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (d *badDisk) SyncDir(dir string) error {
	if err := d.fail("fsync directory"); err != nil {
		return err
	}
	return d.OS.SyncDir(dir)
}

func TestBadDiskCostsOnlyDurability(t *testing.T) {
	for name, disk := range map[string]*badDisk{
		"read-only":            {call: "create", err: syscall.EROFS},
		"full":                 {call: "write", err: syscall.ENOSPC},
		"EIO on fsync":         {call: "fsync", err: syscall.EIO},
		"EIO on a directory's": {call: "fsync directory", err: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := cloudtest.New(cloudtest.Options{})
				defer cloud.Close()
				gw := newQuietGateway(t, cloud)
				gw.disk = disk
				gw.start(t)
				time.Sleep(cloudtest.DefaultTokenLife)
				s := gw.g.status()
				if !gw.usable() || s.MQTT.State != "online" || s.Token.State != "valid" {
					t.Fatalf("%s", gw.all())
				}
				if s.Token.Renewals != 1 || s.Token.Stored.State || !s.Token.Stored.IdentityFile {
					t.Errorf("token %+v", s.Token)
				}
				wants(t, "token", s.Token.Stored.Error, disk.err.Error())
				wants(t, "problems", strings.Join(s.Problems, "\n"), disk.err.Error(), gw.conf.Paths.State)
				gw.stop(t)
			})
		})
	}
}

// This version knows no command: it logs topic and size.
func TestCommandsOfAnyPayloadAreRefused(t *testing.T) {
	for name, payload := range map[string]string{
		"empty":          "",
		"malformed":      `{"fw":`,
		"double-encoded": `"{\"secret\":\"of the payload\"}"`,
		"binary":         "\x00\xff\xfe\x1b[2J",
		"nested":         strings.Repeat("[", 100<<10),
		"200 KiB":        strings.Repeat("x", 200<<10),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := cloudtest.New(cloudtest.Options{})
				defer cloud.Close()
				gw := newGateway(t, cloud)
				log := gw.listen()
				gw.start(t)
				time.Sleep(time.Minute)
				if err := cloud.Command(gw.device.ID, "fw", []byte(payload)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				text := log.String()
				wants(t, "log", text, fmt.Sprintf("topic=mrs/d/%d/ctrl/fw bytes=%d", gw.device.ID, len(payload)))
				if strings.Contains(text, "secret") || strings.Contains(text, "xxxxxxxx") || strings.Contains(text, "[[[[") || strings.Contains(text, "\x1b") {
					t.Error("the log holds the payload")
				}
				if s := gw.g.status(); s.MQTT.State != "online" || s.MQTT.Connects != 1 {
					t.Errorf("mqtt %+v", s.MQTT)
				}
				gw.stop(t)
			})
		})
	}
}

// One command that is too large for the session must not cost the next ones.
func TestHugeCommandIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		log := gw.listen()
		gw.start(t)
		time.Sleep(time.Minute)
		for _, payload := range []string{strings.Repeat("x", 900<<10), "small"} {
			if err := cloud.Command(gw.device.ID, "fw", []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		wants(t, "log", log.String(), "bytes=921600", "bytes=5")
		if s := gw.g.status(); s.MQTT.State != "online" || s.MQTT.Connects != 1 {
			t.Errorf("mqtt %+v\n%s", s.MQTT, log)
		}
		gw.stop(t)
	})
}
