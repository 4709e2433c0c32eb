package conf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	jwt      = "eyJhbGciOiJIUzI1NiJ9.eyJkZXZpY2VJZCI6NDJ9.c2lnbmF0dXJl"
	otherJWT = "eyJhbGciOiJIUzI1NiJ9.eyJkZXZpY2VJZCI6NDN9.b3RoZXI"
)

func identityFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spoke-zone.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenIsFoundHoweverItIsWritten(t *testing.T) {
	for _, text := range []string{
		"mqtt_username=" + jwt,
		"mqtt_username = " + jwt + "\n",
		"mqtt_username: " + jwt + "\r\n",
		"\xef\xbb\xbfmqtt_username=" + jwt + "\r\n",
		"\xef\xbb\xbf\r\n\r\n[x]\r\nmqtt_username\t=\t" + jwt + "\t\r\n",
		"  mqtt_username = \"" + jwt + "\"\n",
		"mqtt_username = '" + jwt + "' # c\n",
		"mqtt_username = `" + jwt + "`\n",
		"mqtt_username = \"\"\"" + jwt + "\"\"\"\n",
		"mqtt_username = " + jwt + " ; comment\n",
		"mqtt_username = " + jwt + "\t# it's a comment\n",
		"MQTT_USERNAME=" + jwt,
		"mqttUsername=" + jwt,
		"Mqtt-Username=" + jwt,
		"export MQTT_USERNAME=\"" + jwt + "\"",
		"\"mqtt_username\" = " + jwt,
		"[cloud]\nurl = https://x/?a#b\n[mqtt]\nmqtt_username = " + jwt + "\n[z]\n",
		"#mqtt_username = no\n;mqtt_username = no\nmqtt_username = " + jwt,
		"mqtt_username =\nmqtt_username = " + jwt + "\nmqtt_username = \"\"\n",
		"host = a \\\nmqtt_username = " + jwt,                       // no continuation
		"password = `start\nnote = \"\"\"x\nmqtt_username = " + jwt, // no multi-line values
		"[broken\n]\n=\nword\n\"quote\n[]\nmqtt_username = " + jwt + "\n`",
		"caf\xe9 = latin 1 \xa0\nmqtt_username = " + jwt,
	} {
		got, err := ReadIdentity(identityFile(t, text))
		if err != nil || got.Token != jwt || got.Warning != nil {
			t.Errorf("%q: got %q, %v, %v", text, got.Token, got.Warning, err)
		}
	}
}

func TestIdentityHasTheRest(t *testing.T) {
	got, err := ReadIdentity(identityFile(t, `
; written by the factory
[mqtt]
mqtt_host = io.spoke.zone
mqtt_username = `+jwt+`
mqtt_password = "gib#ber ; ish"
[device]
CpuId = 0123-4567 # as printed
cpu_id =
uuid: 0d9d5ea0
deviceID = 42
`))
	want := IdentityFile{Token: jwt, Password: "gib#ber ; ish", CPUID: "0123-4567", UUID: "0d9d5ea0", DeviceID: "42"}
	if err != nil || got != want {
		t.Errorf("got %#v, %v", got, err)
	}
}

func TestIdentityThatCannotBeUsedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		want       error
	}{
		{"missing", filepath.Join(dir, "missing"), ErrNoFile},
		{"missing", filepath.Join(dir, "missing"), fs.ErrNotExist},
		{"no directory", filepath.Join(dir, "no", "file"), ErrNoFile},
		{"dangling link", filepath.Join(dir, "dangling"), ErrNoFile},
		{"directory", dir, ErrUnreadable},
		{"fifo", filepath.Join(dir, "fifo"), ErrUnreadable},
		{"device", "/dev/zero", ErrUnreadable},
		{"loop", identityFile(t, "x") + "/x", ErrUnreadable},
		{"empty", identityFile(t, ""), ErrEmpty},
		{"blank", identityFile(t, "\xef\xbb\xbf \r\n\n"), ErrEmpty},
		{"zeros", identityFile(t, strings.Repeat("\x00", 1024)), ErrDamaged},
		{"zeros at the end", identityFile(t, "mqtt_username = "+jwt+"\n\x00\x00"), ErrDamaged},
		{"UTF-16", identityFile(t, "\xff\xfem\x00q\x00"), ErrDamaged},
		{"control characters", identityFile(t, "mqtt_username = abc\x1bdef"), ErrDamaged},
		{"old Macintosh", identityFile(t, "mqtt_username=a\rmqtt_password=b\r"), ErrDamaged},
		{"no key", identityFile(t, "username = x\n# mqtt_username = y\n"), ErrNoToken},
		{"only junk", identityFile(t, "mqtt_username\n"), ErrNoToken},
		{"empty token", identityFile(t, "[a]\nmqtt_username =\n"), ErrEmptyToken},
		{"only a comment", identityFile(t, "mqtt_username = # later\n"), ErrEmptyToken},
		{"only quotes", identityFile(t, "mqtt_username = \" \"\n"), ErrEmptyToken},
		{"too large", identityFile(t, "mqtt_username = "+strings.Repeat("a", maxFile)), ErrTooLarge},
		{"too many lines", identityFile(t, strings.Repeat("\n", maxLines)+"mqtt_username = a"), ErrTooLarge},
	} {
		got, err := ReadIdentity(c.path)
		if !errors.Is(err, c.want) || got != (IdentityFile{}) {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), c.path+": ") {
			t.Errorf("%s: the error does not begin with the file: %v", c.name, err)
		}
	}
}

func TestTokenWith16KiBOfClaimsIsRead(t *testing.T) {
	token := "h." + strings.Repeat("a", 16<<10) + ".s"
	got, err := ReadIdentity(identityFile(t, "mqtt_username = "+token+"\n"))
	if err != nil || got.Token != token {
		t.Errorf("got %d bytes, %v", len(got.Token), err)
	}
}

func TestOfSeveralTokensTheLastThatLooksLikeOneIsUsed(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		line             string // in the warning; empty: none
	}{
		{"appended", "mqtt_username=" + otherJWT + "\nmqtt_username=" + jwt, jwt, "line 2"},
		{"in sections", "[a]\nmqtt_username=" + otherJWT + "\n[b]\nmqtt_username=" + jwt, jwt, "line 4"},
		{"a section reopened", "[a]\nmqtt_username=x\n[b]\nmqtt_username=y\n[a]\nmqtt_username=z", "z", "line 6"},
		{"a broker of its own", "[a]\nmqtt_username=" + jwt + "\n[local]\nmqtt_username=mosquitto", jwt, "line 2"},
		{"no JWT", "mqtt_username=a\nMQTT_USERNAME=b", "b", "line 2"},
		{"the same twice", "mqtt_username=" + jwt + "\n[b]\nmqtt_username=\"" + jwt + "\"", jwt, ""},
		{"an empty one", "mqtt_username=" + jwt + "\n[b]\nmqtt_username=", jwt, ""},
	} {
		got, err := ReadIdentity(identityFile(t, c.text))
		if err != nil || got.Token != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.name, got.Token, err, c.want)
		}
		switch {
		case c.line == "" && got.Warning != nil:
			t.Errorf("%s: got the warning %v", c.name, got.Warning)
		case c.line != "" && (!errors.Is(got.Warning, ErrSeveralTokens) || !strings.Contains(got.Warning.Error(), c.line)):
			t.Errorf("%s: got the warning %v, want %s", c.name, got.Warning, c.line)
		}
	}
}

func TestIdentityPrintsNoSecrets(t *testing.T) {
	f := IdentityFile{Token: jwt, Password: "hunter2", CPUID: "cpu", DeviceID: "42"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("read", "identity", f)
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{f.String(), fmt.Sprintf("%v %+v %#v %s %q", f, f, f, f, f), fmt.Sprint(&f), log.String(), string(text)} {
		if strings.Contains(s, jwt[:10]) || strings.Contains(s, "hunter2") {
			t.Errorf("printed: %s", s)
		}
	}
	if !strings.Contains(f.String(), jwt[len(jwt)-6:]) || !strings.Contains(f.String(), `device_id "42"`) {
		t.Errorf("not helpful: %s", f)
	}
	if s := (IdentityFile{Token: "short-secret"}).String(); strings.Contains(s, "secret") {
		t.Errorf("printed: %s", s)
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add([]byte("[a]\nmqtt_username = " + jwt + " # x\ncpu_id='1'\n"))
	f.Add([]byte("\xef\xbb\xbfMQTT-username:\"a\"\r\n`b`=\"\"\"c\"\"\"\r\n[x\n]"))
	f.Add([]byte("-=a\n-=b\n[DEFAULT]\nmqtt_username=`x` `y`\n\"#1\"=z\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		got, err := parseIdentity(src)
		if errors.Is(err, ErrSyntax) {
			t.Fatalf("ini.v1 reads it differently: %v\n%q", err, src)
		}
		if err == nil && (got.Token == "" || strings.ContainsAny(got.Token, "\r\n\x00")) {
			t.Fatalf("token %q\n%q", got.Token, src)
		}
		if err != nil && got != (IdentityFile{}) {
			t.Fatalf("got %v beside %v", got, err)
		}
	})
}
