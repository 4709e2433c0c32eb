package conf

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func accountFile(t *testing.T, dir, name, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadAccounts(t *testing.T) {
	dir := t.TempDir()
	accountFile(t, dir, "bace.conf", `
[account]
profile = bace
url = https://dashboard.bace-iot.com/
username = me@example.com
password = "p # secret"   ; of the dashboard
client_id = c
client_secret_credential = bace-client
[deliver.app]
file = /run/app/token
format = ini:cloud.token
mode = 0640
owner = app
group = 12
notify = /usr/bin/app reload "now and here"
[deliver.web]
file = /run/web/env
format = env:TOKEN
notify = reload:nginx.service
`, 0o600)
	accountFile(t, dir, "notes.txt", "not ours", 0o644)
	accountFile(t, dir, ".hidden.conf", "not ours", 0o644)
	all, err := LoadAccounts(dir)
	if err != nil || len(all) != 1 {
		t.Fatalf("got %d accounts, %v", len(all), err)
	}
	a := all[0]
	if a.Name != "bace" || a.Profile != "bace" || a.URL != "https://dashboard.bace-iot.com" || a.ClientSecret.Credential != "bace-client" {
		t.Errorf("got %+v", a)
	}
	if got, err := a.Password.Read(""); got != "p # secret" || err != nil {
		t.Errorf("password %q, %v", got, err)
	}
	want := []Deliver{
		{ID: "app", File: "/run/app/token", Format: "ini:cloud.token", Mode: 0o640, Owner: "app", Group: "12", Notify: []string{"/usr/bin/app", "reload", "now and here"}},
		{ID: "web", File: "/run/web/env", Format: "env:TOKEN", Mode: 0o640, Notify: []string{"reload:nginx.service"}},
	}
	if !reflect.DeepEqual(a.Deliver, want) {
		t.Errorf("got %+v", a.Deliver)
	}
	again, _ := LoadAccounts(dir)
	if !again[0].Equal(a) {
		t.Error("the same file is another account")
	}
	text, err := json.Marshal(a)
	if printed := fmt.Sprintf("%v %+v %#v %s", a, a, a, text); strings.Contains(printed, "p # secret") || err != nil {
		t.Errorf("the password prints: %s", printed)
	}
	if none, err := LoadAccounts(filepath.Join(dir, "missing")); none != nil || err != nil {
		t.Errorf("no directory: %v, %v", none, err)
	}
}

func TestFaultsOfAccounts(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{"the device's name", "device.conf", "[account]\nprofile = bace\n", "device is the name"},
		{"a bad name", "Über.conf", "[account]\nprofile = bace\n", "is no name of an account"},
		{"nothing", "a.conf", "", "account.profile: is missing"},
		{"two sources", "a.conf", "[account]\nprofile = bace\npassword_file = /a\npassword = hunter22\n", "a.conf:4: account.password: is a second source"},
		{"a relative file", "a.conf", "[account]\npassword_file = hunter22\n", "is no absolute path"},
		{"a credential with a path", "a.conf", "[account]\npassword_credential = ../x\n", "is no name of a credential"},
		{"an unknown key", "a.conf", "[account]\npasswort = hunter22\n", "a.conf:2: account.passwort: is no setting"},
		{"an unknown section", "a.conf", "[acount]\nprofile = bace\n", "a.conf:1: [acount]: is no section"},
		{"before any section", "a.conf", "profile = bace\n", "stands before any section"},
		{"junk", "a.conf", "[account]\nhunter22\n", "a.conf:2: is no setting"},
		{"twice", "a.conf", "[account]\nprofile = bace\nprofile = bace\n", "is set on line 2 already"},
		{"plain HTTP", "a.conf", "[account]\nurl = http://example.com\n", "in the clear"},
		{"a format", "a.conf", "[account]\n[deliver.x]\nformat = xml\n", "is no format"},
		{"a mode", "a.conf", "[account]\n[deliver.x]\nmode = 4755\n", "is no mode"},
		{"a signal", "a.conf", "[account]\n[deliver.x]\nnotify = signal:app.pid:HUP\n", "is not understood"},
		{"a program without a path", "a.conf", "[account]\n[deliver.x]\nnotify = app\n", "without its full path"},
		{"a delivery's name", "a.conf", "[account]\n[deliver.X Y]\nfile = /x\n", "is no name of a delivery"},
		{"a zero byte", "a.conf", "[account]\x00", "holds a zero byte"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			accountFile(t, dir, tt.file, tt.text, 0o600)
			accountFile(t, dir, "good.conf", "[account]\nprofile = bace\n", 0o600)
			all, err := LoadAccounts(dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter22") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if len(all) != 1 || all[0].Name != "good" {
				t.Errorf("got %d accounts beside it", len(all))
			}
		})
	}
}

func TestSecretsAreRootsAlone(t *testing.T) {
	dir := t.TempDir()
	accountFile(t, dir, "open.conf", "[account]\nprofile = bace\npassword = hunter22\n", 0o640)
	if all, err := LoadAccounts(dir); len(all) != 0 || err == nil || !strings.Contains(err.Error(), "can be read by others") {
		t.Errorf("an account's file of mode 0640: %v", err)
	}
	accountFile(t, dir, "open.conf", "[account]\nprofile = bace\n", 0o644)
	if all, err := LoadAccounts(dir); len(all) != 1 || err != nil {
		t.Errorf("one without a secret: %v", err)
	}
	credentials := t.TempDir()
	accountFile(t, credentials, "key", "of the unit\r\n", 0o440)
	for _, tt := range []struct {
		name   string
		secret Secret
		want   string
		err    string
	}{
		{"a file", Secret{File: accountFile(t, dir, "s1", "hunter22\n", 0o600)}, "hunter22", ""},
		{"one that others read", Secret{File: accountFile(t, dir, "s2", "hunter22", 0o604)}, "", "can be read by others: its mode is 0604"},
		{"an empty one", Secret{File: accountFile(t, dir, "s3", "\n", 0o600)}, "", "is empty"},
		{"one of two lines", Secret{File: accountFile(t, dir, "s4", "a\nb\n", 0o600)}, "", "no secret of one line"},
		{"none", Secret{File: filepath.Join(dir, "s5")}, "", "no such file"},
		{"a directory", Secret{File: credentials}, "", "can be read by others"},
		{"a credential", Secret{Credential: "key"}, "of the unit", ""},
		{"one that the unit has not", Secret{Credential: "other"}, "", "no such file"},
	} {
		got, err := tt.secret.Read(credentials)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hunter22")) {
			t.Errorf("%s: got %q, %v", tt.name, got, err)
		}
	}
	if _, err := (Secret{Credential: "key"}).Read(""); err == nil || !strings.Contains(err.Error(), "LoadCredential=") {
		t.Errorf("without a unit: %v", err)
	}
}

func FuzzAccount(f *testing.F) {
	f.Add([]byte("[account]\nprofile = bace\npassword = x\n[deliver.a]\nfile = /x\nnotify = /bin/true 'a b'\n"))
	f.Add([]byte("[deliver.\n\xef\xbb\xbf=`\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		r := accountReader{account: Account{Name: "a", File: "a.conf"}, seen: map[string]int{}}
		r.read(src)
		for _, d := range r.account.Deliver {
			if d.Mode > 0o777 || len(d.Notify) > 0 && d.Notify[0] == "" {
				t.Errorf("%+v", d)
			}
		}
		if len(r.faults) == 0 && len(r.account.Deliver) > maxAccounts {
			t.Error("too many deliveries")
		}
	})
}
