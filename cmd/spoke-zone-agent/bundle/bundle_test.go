package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A place is a gateway on a disk of its own, with secrets wherever one may be.
type place struct {
	dir     string
	secrets []string
}

// secret makes one that must not be found in the bundle.
func (p *place) secret(what string) string {
	s := fmt.Sprintf("PLANTED-%d-%s", len(p.secrets), what)
	p.secrets = append(p.secrets, s)
	return s
}

// token makes a JSON Web Token.
func (p *place) token(what string) string {
	part := base64.RawURLEncoding.EncodeToString
	t := part([]byte(`{"alg":"HS256"}`)) + "." + part(fmt.Appendf(nil, `{"sub":"%d","what":%q}`, len(p.secrets), what)) + "." + part([]byte("signature of "+what))
	p.secrets = append(p.secrets, t)
	return t
}

func (p *place) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{dir: t.TempDir()}
	cpu, uuid, device := p.secret("cpu"), p.secret("uuid"), p.token("device")
	password, spoken := p.secret("mqtt-password"), p.secret(`spoken "pass" wörd & more`)
	p.write(t, "spoke-zone.conf", "; old: "+p.secret("comment")+"\n[device]\nCPU_ID = "+cpu+"\nuuid: "+uuid+"\nuuid = "+uuid+"\nmqtt_username = "+device+
		"\nmqtt_password = "+password+"\ndevice_id = 124\nunknown_to_us = "+p.secret("unknown")+"\n"+p.secret("no-setting")+"\n")
	p.write(t, "agent.conf", "[paths]\nidentity = "+p.dir+"/spoke-zone.conf\nstate = "+p.dir+"/state\nspool = "+p.dir+"/spool\nrun = "+p.dir+"/run\naccounts = "+p.dir+
		"/accounts.d\ncommands = "+p.dir+"/commands.d\n[identity]\ncpu_id = "+cpu+"\n[command.push]\nrun = /usr/bin/push --api-key "+p.secret("argument")+" --password="+p.secret("argument")+
		" https://user:"+p.secret("userinfo")+"@host/x\n# password = "+p.secret("old one")+"\n")
	p.write(t, "agent.conf.d/10-more.conf", "[module.display]\nversion_command = /usr/bin/get --header \"Authorization: Bearer "+p.secret("bearer")+"\"\n")
	inFile := p.secret("password-file")
	p.write(t, "secret", inFile+"\n")
	p.write(t, "accounts.d/bace.conf", "[account]\nprofile = bace\nurl = https://bace.example\napi_key = "+p.secret("api-key")+"\n")
	p.write(t, "accounts.d/beamery.conf", "[account]\nprofile = beamery\nusername = gateway\npassword_file = "+p.dir+"/secret\nclient_id = "+p.secret("client-id")+"\nclient_secret = "+p.secret("client-secret")+"\n")
	p.write(t, "accounts.d/spoken.conf", "[account]\nprofile = oauth2\npassword = "+spoken+"\n")
	refresh, opaque := p.secret("refresh"), p.secret("opaque")
	for _, dir := range []string{"state/cred/accounts/beamery", "state/ota/display", "state/upload/spool", "state/outbox"} {
		if err := os.MkdirAll(filepath.Join(p.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	record := func(name string, v any) {
		t.Helper()
		if err := atomicfile.SaveRecord(atomicfile.OS{}, filepath.Join(p.dir, "state", name), v); err != nil {
			t.Fatal(err)
		}
	}
	older := p.token("older")
	record("cred/tokens", map[string]any{"fmt": 1, "cur": device, "next": older})
	record("cred/accounts/beamery/tokens", map[string]any{"fmt": 1, "cur": opaque, "cur_beside": map[string]any{"refresh_token": refresh, "issued": time.Now()}})
	p.write(t, "state/cred/damaged", `{"cur":"`+p.secret("damaged")+`"`)
	record("ota/display/record", map[string]any{"module": "display", "outcome": "undone: the hook said " + older, "version": "1.2.3"})
	record("diagnostics", map[string]any{"level": "debug"})
	p.write(t, "state/upload/spool/000000000001.data", p.secret("data-file"))
	p.write(t, "state/outbox/seg-1", p.secret("message"))
	everywhere := strings.Join([]string{cpu, uuid, device, password, spoken, inFile, refresh, opaque, older,
		url.QueryEscape(spoken), base64.StdEncoding.EncodeToString([]byte(password))}, " and ")
	p.secrets = append(p.secrets, url.QueryEscape(spoken), base64.StdEncoding.EncodeToString([]byte(password)))
	p.write(t, "journal.txt", "one line\n"+everywhere+"\nGET mqtts://"+p.secret("userinfo")+":"+p.secret("userinfo")+"@broker\nAuthorization: Bearer "+
		p.secret("header")+"\nsudo: COMMAND=/usr/bin/push --token "+p.secret("in a log")[:18]+"\n")
	p.secrets[len(p.secrets)-1] = p.secrets[len(p.secrets)-1][:18]
	script := p.write(t, "bin/journalctl", "#!/bin/sh\nexec cat '"+p.dir+"/journal.txt'\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", p.dir+"/bin:"+os.Getenv("PATH"))
	p.write(t, "everywhere", everywhere)
	return p
}

// bundle makes one and returns what is in it.
func (p *place) bundle(t *testing.T, b *Bundle) map[string]string {
	t.Helper()
	b.ConfigPath, b.InstallPolicy, b.Version, b.Now = p.dir+"/agent.conf", p.dir+"/install.conf", "1.2.3", time.Now
	var out bytes.Buffer
	if err := b.Write(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	zipped, err := gzip.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, Name+"/")] = string(data)
	}
}

func TestNoSecretIsInIt(t *testing.T) {
	p := newPlace(t)
	everywhere, err := os.ReadFile(filepath.Join(p.dir, "everywhere"))
	if err != nil {
		t.Fatal(err)
	}
	b := &Bundle{Parts: []Part{{"status.json", func(context.Context) (string, error) { return string(everywhere), nil }},
		{"why.txt", func(context.Context) (string, error) { return "", errors.New("no agent answers, says " + p.secrets[0]) }}}}
	files := p.bundle(t, b)
	for name, text := range files {
		for _, s := range p.secrets {
			if strings.Contains(text, s) || strings.Contains(name, s) {
				t.Errorf("%s has the secret %.60q", name, s)
			}
		}
		if strings.Contains(text, "PLANTED") {
			i := strings.Index(text, "PLANTED")
			t.Errorf("%s has a part of a secret: %.80q", name, text[max(0, i-30):])
		}
	}
	for name, want := range map[string]string{
		"settings/agent.conf":                         "run = /usr/bin/push --api-key [redacted]",
		"settings/agent.conf.d/10-more.conf":          "[module.display]",
		"settings/accounts.d/beamery.conf":            "profile = beamery",
		"identity/spoke-zone.conf":                    "device_id = 124",
		"state/files.txt":                             "state/ota/display/record",
		"state" + p.dir + "/state/ota/display/record": `"version":"1.2.3"`,
		"state" + p.dir + "/state/diagnostics":        `"level":"debug"`,
		"journal.txt":                                 "one line",
		"system/versions.txt":                         "spoke-zone-agent 1.2.3",
		"system/clock.txt":                            "uptime",
		"system/disk.txt":                             "MiB free",
		"system/mounts.txt":                           " / ",
		"system/network.txt":                          "lo mtu",
		"README":                                      "why.txt: no agent answers",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s does not say %q:\n%.400s", name, want, files[name])
		}
	}
	for _, left := range b.Left() {
		if strings.Contains(left, "PLANTED") {
			t.Errorf("what is left out is told with a secret: %s", left)
		}
	}
}

// TestASecretAtTheCut: a text that is too long is not cut in the middle of what
// would not be known by its half.
func TestASecretAtTheCut(t *testing.T) {
	p := newPlace(t)
	cpu := p.secrets[0] // the identity's comment comes after it
	for _, secret := range []string{cpu, "-----BEGIN PRIVATE KEY-----\nPLANTED\nPLANTED\n-----END PRIVATE KEY-----"} {
		for _, half := range []int{6, len(secret) / 2, len(secret) - 2} {
			text := strings.Repeat("x", 100) + secret + strings.Repeat("y", maxFile-half)
			b := &Bundle{Parts: []Part{{"long", func(context.Context) (string, error) { return text, nil }}}}
			long := p.bundle(t, b)["long"]
			if got := long[:100]; strings.Contains(got, secret[len(secret)-half:]) {
				t.Errorf("the last %d bytes of %q are in it: %q", half, secret, got)
			}
		}
	}
}

func TestItIsBounded(t *testing.T) {
	p := newPlace(t)
	long := strings.Repeat("x", 3*maxFile)
	var parts []Part
	for i := range 20 {
		parts = append(parts, Part{fmt.Sprintf("part-%d", i), func(context.Context) (string, error) { return long, nil }})
	}
	b := &Bundle{Parts: parts}
	files := p.bundle(t, b)
	total := 0
	for name, text := range files {
		if total += len(text); len(text) > maxFile+100 {
			t.Errorf("%s has %d bytes", name, len(text))
		}
	}
	if total > maxTotal+maxFile || !strings.Contains(files["README"], "part-19: the archive has 16 MiB already") {
		t.Errorf("%d bytes, README:\n%s", total, files["README"])
	}
}

func TestTheEndOfWhatAProgramSays(t *testing.T) {
	var e end
	for i := range 400_000 {
		fmt.Fprintf(&e, "line %d\n", i)
	}
	text := e.text()
	if len(text) > 2*maxFile || !strings.HasPrefix(text, "line ") || !strings.HasSuffix(text, "line 399999\n") {
		t.Errorf("%d bytes, %.20q", len(text), text)
	}
}
