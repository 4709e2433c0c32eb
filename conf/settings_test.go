package conf

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// write makes files in a new directory and returns the path of the first.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "agent.conf")
}

func TestDefaultsAreThoseOfTheManual(t *testing.T) {
	want := Config{
		Paths: Paths{
			Identity: "/etc/spoke-zone/spoke-zone.conf",
			State:    "/var/lib/spoke-zone-agent",
			Run:      "/run/spoke-zone-agent",
			Spool:    "/var/spool/spoke-zone-agent",
			Accounts: "/etc/spoke-zone-agent/accounts.d",
			Commands: "/etc/spoke-zone-agent/commands.d",
		},
		Cloud:     Cloud{URL: "https://api.spoke.zone", Timeout: 30 * time.Second},
		Token:     Token{RenewBefore: 12 * time.Hour, Grace: 12 * time.Hour, Spread: 5 * time.Minute},
		MQTT:      MQTT{Broker: "mqtts://io.spoke.zone:8883", KeepAlive: 20 * time.Second, Session: "persistent"},
		Outbox:    Outbox{MaxBytes: 16 << 20, MaxAge: 7 * 24 * time.Hour},
		Telemetry: Telemetry{VersionsInterval: time.Minute, LocationInterval: 15 * time.Second, LocationSource: "auto"},
		OTA:       OTA{CheckInterval: 6 * time.Hour, InhibitDir: "/run/spoke-zone/inhibit", VerifyWithin: 30 * time.Minute, VerifyTime: 5 * time.Minute, OfflineCommit: "wait"},
		Upload:    Upload{MaxFile: 1 << 20, MaxSpool: 64 << 20},
		Diagnostics: Diagnostics{MaxTime: 14 * 24 * time.Hour, MinInterval: 10 * time.Second, Record: []string{"journal", "dmesg", "debug"},
			History: time.Hour, Interval: 5 * time.Minute, MaxFile: 256 << 10, DailyLimit: 16 << 20},
		Bridge: Bridge{Publish: []string{"mon/#"}, Subscribe: []string{"ctrl/#"}},
		Local:  Local{Group: "spoke-zone"},
		Log:    Log{Level: slog.LevelInfo},
	}
	if got := Default(); !got.Equal(want) {
		t.Errorf("Default() =\n%+v\nwant\n%+v", got, want)
	}
}

func TestMissingFilesAreDefaults(t *testing.T) {
	got, err := Load(filepath.Join(t.TempDir(), "no", "agent.conf"))
	if err != nil || !got.Equal(Default()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// everything sets each setting to something that is not its default.
const everything = `# every setting
[paths]
identity = /rw_data/spoke-zone.conf
state    = /rw_data/agent/     ; where the root is read-only
run      = /run/other
spool    = "/var/spool/with # sign"
accounts = /a/../accounts
commands : /commands
[identity]
cpu_id    = 0123 4567
uuid      = 'b5'
device_id = 42
claim_device_id = did, dev
claim_prefix = "the prefix" root
[cloud]
url     = http://127.0.0.1:8080/base/
ca_file = /etc/ca.pem
timeout = 90s
[token]
renew_before = 1d
grace        = 0s
spread       = 1d
[mqtt]
broker     = mqtt://[::1]
client_id  = gateway 7
topic_base = mon/d/42
keep_alive = 20m
session    = clean
extra_subscriptions = mon/d/42/ctrl/#, "#" +/news
[outbox]
max_bytes = 1GiB
max_age = 2d
[telemetry]
versions_interval = 1h30m
location_interval = 1s
location_source   = nmea:/dev/ttymxc1@9600
location_distance = 25
[ota]
check_interval = 7d
window         = 01:00-05:00, Sat,Sun 22:00-06:00, Mon-Fri 00:00-24:00
rate_limit     = 512KiB
monthly_limit  = 2GiB
order          = display, app
inhibit_dir    = /run/inhibit
inhibit_command = /usr/bin/parked -q
verify_deadline = 1h
verify_time    = 1m
offline_commit = rollback
[module.display]
version_command = sh -c 'cat /etc/version; true' ; a comment
policy          = install
allow_downgrade = yes
[module.can-controller1]
version_file = /etc/can-version
policy = fetch
[upload]
max_file      = 2MiB
max_spool     = 65536KiB
archive       = 1MiB
rate_limit    = 64KiB
monthly_limit = 1GiB
[upload.debug]
max_bytes = 4MiB
max_files = 100
max_age   = 7d
gzip      = yes
[collect.app]
files    = /var/log/app/*.log, "/var/log/with space.log"
type     = txt
module   = display
interval = 1m
size     = 64MiB
[diagnostics]
max_time = 1d
min_interval = 1m
module = can-controller1
record = journal, debug
journal_units = app.service can-*
history = 0s
interval = 1m
max_file = 1MiB
daily_limit = 64MiB
[command.reboot]
run     = /sbin/reboot "in \"a\" while" a\ b # now
timeout = 5m
retained = run
[command.display/dim]
[bridge]
file      = /etc/mosquitto/conf.d/cloud.conf
group     = mosquitto
notify    = signal:/run/mosquitto/mosquitto.pid:HUP
prefix    = cloud/
publish   = mon/#, events/+
subscribe = ctrl/#
[local]
group =
[log]
level = debug
`

func TestEverySettingIsRead(t *testing.T) {
	got, err := Load(write(t, "agent.conf", everything))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Paths: Paths{"/rw_data/spoke-zone.conf", "/rw_data/agent", "/run/other", "/var/spool/with # sign", "/accounts", "/commands"},
		Identity: Identity{CPUID: "0123 4567", UUID: "b5", DeviceID: "42",
			ClaimDeviceID: []string{"did", "dev"}, ClaimPrefix: []string{"the prefix", "root"}},
		Cloud: Cloud{"http://127.0.0.1:8080/base", "/etc/ca.pem", 90 * time.Second},
		Token: Token{24 * time.Hour, 0, 24 * time.Hour},
		MQTT: MQTT{"mqtt://[::1]", "gateway 7", "mon/d/42", 20 * time.Minute, "clean",
			[]string{"mon/d/42/ctrl/#", "#", "+/news"}},
		Outbox:    Outbox{1 << 30, 48 * time.Hour},
		Telemetry: Telemetry{90 * time.Minute, time.Second, "nmea:/dev/ttymxc1@9600", 25},
		OTA:       OTA{7 * 24 * time.Hour, "01:00-05:00, Sat,Sun 22:00-06:00, Mon-Fri 00:00-24:00", 512 << 10, 2 << 30, []string{"display", "app"}, "/run/inhibit", []string{"/usr/bin/parked", "-q"}, time.Hour, time.Minute, "rollback"},
		Modules: []Module{
			{"display", []string{"sh", "-c", "cat /etc/version; true"}, "", "install", true},
			{"can-controller1", nil, "/etc/can-version", "fetch", false},
		},
		Upload:      Upload{2 << 20, 64 << 20, 1 << 20, 64 << 10, 1 << 30},
		UploadTypes: []UploadType{{"debug", 4 << 20, 100, 7 * 24 * time.Hour, true}},
		Collect:     []Collect{{"app", []string{"/var/log/app/*.log", "/var/log/with space.log"}, "txt", "display", time.Minute, 64 << 20}},
		Diagnostics: Diagnostics{24 * time.Hour, time.Minute, "can-controller1", []string{"journal", "debug"}, []string{"app.service", "can-*"},
			0, time.Minute, 1 << 20, 64 << 20},
		Commands: []Command{
			{"reboot", []string{"/sbin/reboot", `in "a" while`, "a b"}, 5 * time.Minute, "run"},
			{"display/dim", nil, time.Minute, "ignore"},
		},
		Bridge: Bridge{"/etc/mosquitto/conf.d/cloud.conf", "mosquitto", []string{"signal:/run/mosquitto/mosquitto.pid:HUP"}, "cloud/",
			[]string{"mon/#", "events/+"}, []string{"ctrl/#"}},
		Log: Log{slog.LevelDebug},
	}
	if !got.Equal(want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if got.Equal(Default()) {
		t.Error("equal to the defaults")
	}
	for _, s := range table {
		if !regexp.MustCompile(`(?m)^` + s.Key + `\s*[=:]`).MatchString(everything) {
			t.Errorf("%s.%s is not in this test", s.Section, s.Key)
		}
	}
}

// TestSettingsReadWhatTheyPrint holds for each setting: text gives what parse
// took.
func TestSettingsReadWhatTheyPrint(t *testing.T) {
	c, err := Load(write(t, "agent.conf", everything))
	if err != nil {
		t.Fatal(err)
	}
	again := Config{Modules: make([]Module, 2), Commands: make([]Command, 2), UploadTypes: []UploadType{{Type: c.UploadTypes[0].Type}}, Collect: []Collect{{Name: c.Collect[0].Name}}}
	for i := range c.Modules {
		again.Modules[i].Key, again.Commands[i].Name = c.Modules[i].Key, c.Commands[i].Name
	}
	for _, s := range table {
		for i := range c.Modules {
			from := s.at(scope{config: &c, module: &c.Modules[i], command: &c.Commands[i], upload: &c.UploadTypes[0], collect: &c.Collect[0]})
			to := s.at(scope{config: &again, module: &again.Modules[i], command: &again.Commands[i], upload: &again.UploadTypes[0], collect: &again.Collect[0]})
			if err := to.parse(from.text()); err != nil {
				t.Errorf("%s.%s prints %q: %v", s.Section, s.Key, from.text(), err)
			}
		}
	}
	if !again.Equal(c) {
		t.Errorf("got\n%+v\nwant\n%+v", again, c)
	}
}

func TestDropInsComeAfterInTheOrderOfTheirNames(t *testing.T) {
	got, err := Load(write(t,
		"agent.conf", "[log]\nlevel = debug\n[cloud]\ntimeout = 1s\n[module.b]\npolicy=fetch\n",
		"agent.conf.d/20-b.conf", "[log]\nlevel = error\n[module.a]\n[module.b]\nallow_downgrade=yes\n",
		"agent.conf.d/10-a.conf", "[log]\nlevel = warn\n[mqtt]\nsession = clean\n",
		"agent.conf.d/.hidden.conf", "nonsense",
		"agent.conf.d/30.conf.dpkg-old", "nonsense",
	))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Log.Level, want.Cloud.Timeout, want.MQTT.Session = slog.LevelError, time.Second, "clean"
	want.Modules = []Module{{Key: "b", Policy: "fetch", AllowDowngrade: true}, {Key: "a", Policy: "notify"}}
	if !got.Equal(want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestDropInsNeedNoMainFile(t *testing.T) {
	got, err := Load(write(t, "agent.conf.d/1.conf", "\xef\xbb\xbf[log]\r\nlevel = warn\r\n"))
	if err != nil || got.Log.Level != slog.LevelWarn {
		t.Errorf("got %+v, %v", got.Log, err)
	}
}

func TestFaultsAreAllReportedAtOnce(t *testing.T) {
	path := write(t, "agent.conf", `stray = 1
[cloud]
url = http://api.spoke.zone
timeout = 5
tiemout = 5s
nonsense
[modul.x]
anything = here is not looked at
[mqtt]
keep_alive = 1s
session = dirty
[module.Display]
[module.display]
version_command = cat 'x
policy = maybe
[token
`, "agent.conf.d/x.conf", `
[log]
level = loud
[upload]
max_file = 1MB
`)
	_, err := Load(path)
	faults, ok := err.(Faults)
	if !ok {
		t.Fatalf("got %T %v", err, err)
	}
	dir := filepath.Dir(path) + "/"
	got := strings.ReplaceAll(err.Error(), dir, "")
	want := `agent.conf:1: stray: stands before any section (paths, identity, cloud, token, mqtt, outbox, telemetry, ota, module.KEY, upload, upload.TYPE, collect.NAME, diagnostics, command.NAME, bridge, local, log)
agent.conf:3: cloud.url: http:// would send the token to api.spoke.zone in the clear (https://HOST[:PORT][/PATH]; http:// to a loopback address)
agent.conf:4: cloud.timeout: "5" lacks a unit: ms, s, m, h or d (1s to 10m)
agent.conf:5: cloud.tiemout: is no setting (url, ca_file, timeout)
agent.conf:6: "nonsense" is no setting ([section], or key = value)
agent.conf:7: [modul.x]: is no section (paths, identity, cloud, token, mqtt, outbox, telemetry, ota, module.KEY, upload, upload.TYPE, collect.NAME, diagnostics, command.NAME, bridge, local, log)
agent.conf:10: mqtt.keep_alive: 1s is below 5s (5s to 20m, whole seconds)
agent.conf:11: mqtt.session: "dirty" is none of the words (persistent or clean)
agent.conf:12: [module.Display]: "Display" is no key of a module (lowercase letters, digits and hyphens, at most 64)
agent.conf:14: module.display.version_command: has a quote that is not closed (a program and its arguments, without a shell)
agent.conf:15: module.display.policy: "maybe" is none of the words (notify, fetch or install)
agent.conf:16: "[token" is no setting ([section], or key = value)
agent.conf.d/x.conf:3: log.level: "loud" is no level (debug, info, warn or error)
agent.conf.d/x.conf:5: upload.max_file: "1MB" has the unit "MB", which is none of B, KiB, MiB, GiB and TiB (1KiB to 1TiB)`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(faults) != 14 {
		t.Errorf("%d faults", len(faults))
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, c := range []struct{ section, line, problem string }{
		{"paths", "state = var/lib", "is not absolute"},
		{"paths", "state =", "is empty"},
		{"paths", "state = /a\x01", "do not print"},
		{"cloud", "url = https://%zz", "is not a URL"},
		{"mqtt", "session =", "is empty"},
		{"mqtt", "extra_subscriptions = ''", "no topic filter"},
		{"mqtt", "extra_subscriptions = 'a", "not closed"},
		{"outbox", "max_bytes =", "is empty"},
		{"module.a", "allow_downgrade =", "is empty"},
		{"paths", "state = /" + long, "bytes long"},
		{"identity", "device_id = 0", "is not one"},
		{"identity", "device_id = +4", "is not one"},
		{"identity", "device_id = d-12", "is not one"},
		{"identity", "cpu_id = a\x01b", "do not print"},
		{"identity", "cpu_id = a\xff", "do not print"},
		{"identity", "uuid = " + long, "bytes long"},
		{"identity", "claim_prefix = ''", "no name of a claim"},
		{"cloud", "url =", "is empty"},
		{"cloud", "url = api.spoke.zone", "does not begin with https://"},
		{"cloud", "url = ftp://127.0.0.1", "does not begin with https://"},
		{"cloud", "url = https://", "names no host"},
		{"cloud", "url = https:api", "names no host"},
		{"cloud", "url = https://me:pw@h", "holds a user name"},
		{"cloud", "url = https://h/?a=b", "has a query"},
		{"cloud", "url = https://h/#f", "has a fragment"},
		{"cloud", "url = https://h:0", "has the port"},
		{"cloud", "url = https://h:99999", "has the port"},
		{"cloud", "url = http://127.0.0.1.example", "in the clear"},
		{"cloud", "url = http://localhost.example", "in the clear"},
		{"cloud", "url = http://0.0.0.0", "in the clear"},
		{"cloud", "timeout = 11m", "is above 10m"},
		{"cloud", "timeout = -1s", "is not a duration"},
		{"cloud", "timeout = 1.5s", "lacks a unit"},
		{"cloud", "timeout = 99999999999999999999s", "is not a duration"},
		{"cloud", "timeout = 999999999999999999s", "is too long"},
		{"cloud", "timeout = 3w", `unit "w"`},
		{"token", "spread = 13h", "above the 12h of renew_before"},
		{"mqtt", "broker = mqtt://io.spoke.zone", "in the clear"},
		{"mqtt", "broker = tcp://127.0.0.1", "does not begin with mqtts://"},
		{"mqtt", "broker = mqtts://h/path", "has a path"},
		{"mqtt", "topic_base = mrs/+/x", "holds a wildcard"},
		{"mqtt", "topic_base = /mrs", "slash"},
		{"mqtt", "keep_alive = 5500ms", "fraction of a second"},
		{"mqtt", "keep_alive = 21m", "is above 20m"},
		{"mqtt", "extra_subscriptions = a/#/b", "wrong place"},
		{"mqtt", "extra_subscriptions = a/b+", "wrong place"},
		{"mqtt", "extra_subscriptions = " + strings.Repeat("a ", 65), "65 entries"},
		{"outbox", "max_bytes = 1B", "is below 64KiB"},
		{"outbox", "max_bytes = 100", "lacks a unit"},
		{"outbox", "max_bytes = 9999999999999TiB", "is too large"},
		{"outbox", "max_bytes = 2000GiB", "is above 1TiB"},
		{"outbox", "max_bytes = lots", "is not a size"},
		{"telemetry", "location_source = nmea:ttyS0@9600", "is no source"},
		{"telemetry", "location_source = nmea:/dev/ttyS0", "is no source"},
		{"telemetry", "location_source = gpsd:localhost", "is no source"},
		{"telemetry", "location_distance = far", "is no whole number"},
		{"telemetry", "location_distance = -1", "is below 0"},
		{"telemetry", "location_distance = 100001", "is above 100000"},
		{"diagnostics", "module = Display", "is no key of a module"},
		{"bridge", "prefix = cloud", "is none"},
		{"bridge", "notify = signal:mosquitto.pid:HUP", "is not understood"},
		{"bridge", "publish = /mon/#", "is no filter for a bridge"},
		{"bridge", "publish = $SYS/#", "is no filter for a bridge"},
		{"bridge", "subscribe = 'a b'", "is no filter for a bridge"},
		{"bridge", "subscribe = a/#/b", "has a wildcard in the wrong place"},
		{"command.diagnostics", "run = /bin/true", "is built in"},
		{"ota", "window = Sat", "without a time"},
		{"ota", "window = 25:00-26:00", "neither a day nor"},
		{"ota", "window = 01:00-01:00", "neither a day nor"},
		{"ota", "window = Someday 01:00-02:00", "neither a day nor"},
		{"module.a", "allow_downgrade = perhaps", "is neither"},
		{"module.a", "version_command = ''", "name is empty"},
		{"module.a", `version_command = cat \`, "ends in a backslash"},
		{"module.a", "version_file = x", "is not absolute"},
		{"module.a", "version_file = /x\nversion_command = y", "both are set"},
		{"module.a", "key = x", "is no setting (version_command, version_file, policy, allow_downgrade)"},
		{"module." + strings.Repeat("a", 65), "", "no key of a module"},
		{"module.", "", "no key of a module"},
		{"module.a b", "", "no key of a module"},
		{"command.a/../b", "", "no name of a command"},
		{"command./a", "", "no name of a command"},
		{"command.#", "", "no name of a command"},
		{"command.x", "timeout = 0s", "is below 1s"},
		{"command.x", "retained = keep", "none of the words"},
		{"local", "group = two words", "no group's name"},
		{"log", "level = INFO", "is no level"},
		{"log", "level =", "is no level"},
		{"Log", "level = info", "is no section"},
		{"log", "a \x00 b", "zero byte"},
		{"log", strings.Repeat("\n", maxLines), "too many lines"},
		{"log", strings.Repeat(";", maxFile), "too large"},
	} {
		_, err := Load(write(t, "agent.conf", "["+c.section+"]\n"+c.line+"\n"))
		faults, _ := err.(Faults)
		if len(faults) != 1 || !strings.Contains(err.Error(), c.problem) || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("[%s] %.60q: got %v, want one fault with %q", c.section, c.line, err, c.problem)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("[%s] %.60q: %d bytes of message", c.section, c.line, len(err.Error()))
		}
	}
}

func TestSettingsThatAreAllowed(t *testing.T) {
	for _, line := range []string{
		"[cloud]\nurl = http://localhost:1", "[cloud]\nurl = http://127.9.9.9", "[cloud]\nurl = http://[::1]:80/x",
		"[cloud]\nurl = http://[::ffff:127.0.0.1]", "[mqtt]\nbroker = mqtt://LOCALHOST:1883",
		"[module.a]", "[module.a] # text", "[ota]\nwindow = 22:00-06:00", "[ota]\nwindow =",
		"[log]\nlevel = warn# not a comment\nlevel = warn",
	} {
		_, err := Load(write(t, "agent.conf", line))
		if strings.Contains(line, "not a comment") {
			if err == nil || !strings.Contains(err.Error(), "warn# not") {
				t.Errorf("%q: got %v", line, err)
			}
		} else if err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestTooManyDropInsAreAFault(t *testing.T) {
	files := []string{"agent.conf", ""}
	for i := range maxDropIns + 1 {
		files = append(files, fmt.Sprintf("agent.conf.d/%03d.conf", i), "")
	}
	_, err := Load(write(t, files...))
	if faults, _ := err.(Faults); len(faults) != 1 || !strings.HasSuffix(err.Error(), "agent.conf.d: holds 257 files (at most 256)") {
		t.Errorf("got %v", err)
	}
}

func TestConflictIsReportedWhereItWasMade(t *testing.T) {
	_, err := Load(write(t,
		"agent.conf", "[module.a]\nversion_file = /x\n[token]\nspread = 2h\n",
		"agent.conf.d/a.conf", "[token]\nrenew_before = 1h\n[module.a]\nversion_command = y\n"))
	want := []string{"a.conf:2: token.renew_before: with token.spread", "a.conf:4: module.a.version_command: with module.a.version_file"}
	for i, line := range strings.Split(err.Error(), "\n") {
		if !strings.Contains(line, want[i]) {
			t.Errorf("got %q, want %q", line, want[i])
		}
	}
}

func TestUnreadableSettingsAreFaults(t *testing.T) {
	path := write(t, "agent.conf/is/a/directory", "", "agent.conf.d", "is a file")
	_, err := Load(path)
	faults, _ := err.(Faults)
	if len(faults) != 2 || !strings.Contains(err.Error(), "agent.conf: read: not a regular file") {
		t.Errorf("got %v", err)
	}
}

// TestShippedFileIsRendered keeps conf/agent.conf in step: UPDATE=1 writes it.
func TestShippedFileIsRendered(t *testing.T) {
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("agent.conf", []byte(Render()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shipped, err := os.ReadFile("agent.conf")
	if err != nil {
		t.Fatal(err)
	}
	if string(shipped) != Render() {
		t.Error("agent.conf is not what Render returns: run the test with UPDATE=1")
	}
	for i, line := range strings.Split(string(shipped), "\n") {
		if len(line) > 80 {
			t.Errorf("line %d is %d bytes long", i+1, len(line))
		}
	}
}

func TestShippedFileIsDefaultAndSoIsEachSettingInIt(t *testing.T) {
	c, err := Load("agent.conf")
	if err != nil || !c.Equal(Default()) {
		t.Errorf("as shipped: %v", err)
	}
	setting := regexp.MustCompile(`(?m)^#(\[|\w+ =)`)
	src := setting.ReplaceAllString(Render(), "$1")
	src = strings.NewReplacer("[module.KEY]", "[module.key]", "[upload.TYPE]", "[upload.log]", "\nfiles =\n", "\nfiles = /var/log/app.log\n").Replace(src)
	c, err = Load(write(t, "agent.conf", src))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Modules = []Module{{Key: "key", Policy: "notify"}}
	want.Commands = []Command{{Name: "NAME", Timeout: time.Minute, Retained: "ignore"}}
	want.UploadTypes = []UploadType{Default().UploadType("log")}
	want.Collect = []Collect{{"NAME", []string{"/var/log/app.log"}, "log", "", 5 * time.Minute, 1 << 20}}
	if !c.Equal(want) {
		t.Errorf("got\n%+v\nwant\n%+v", c, want)
	}
	if n := strings.Count(src, " ="); n < len(table) {
		t.Errorf("%d settings in it, not %d", n, len(table))
	}
}

func TestSettingsAreComplete(t *testing.T) {
	all := Settings()
	seen := map[string]bool{}
	for i, s := range all {
		name := s.Section + "." + s.Key
		if seen[name] {
			t.Errorf("%s twice", name)
		}
		if seen[s.Section+"."] && all[i-1].Section != s.Section {
			t.Errorf("[%s] is torn apart", s.Section)
		}
		seen[s.Section+"."] = true
		seen[name] = true
		if s.Allowed == "" || !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("%s: allowed %q, doc %q", name, s.Allowed, s.Doc)
		}
	}
	all[0].Key = "changed"
	if Settings()[0].Key == "changed" {
		t.Error("the table can be changed from outside")
	}
	// Each field of a Config but the names of sections has a setting.
	count := func(v any) int { return reflect.TypeOf(v).NumField() }
	fields := count(Paths{}) + count(Identity{}) + count(Cloud{}) + count(Token{}) + count(MQTT{}) + count(Outbox{}) +
		count(Telemetry{}) + count(OTA{}) + count(Module{}) - 1 + count(Upload{}) + count(UploadType{}) - 1 + count(Collect{}) - 1 + count(Diagnostics{}) +
		count(Command{}) - 1 + count(Bridge{}) + count(Local{}) + count(Log{})
	if fields != len(all) {
		t.Errorf("%d fields, %d settings", fields, len(all))
	}
}
