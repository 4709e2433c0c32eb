package conf

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// policyFile writes an install.conf and returns its name.
func policyFile(t *testing.T, src string) string {
	t.Helper()
	return filepath.Join(filepath.Dir(write(t, "install.conf", src)), "install.conf")
}

func TestTheShippedInstallConfIsTheDefault(t *testing.T) {
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("install.conf", []byte(RenderInstall()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("install.conf")
	if err != nil || string(text) != RenderInstall() {
		t.Errorf("install.conf is not what RenderInstall returns (UPDATE=1 rewrites it): %v", err)
	}
	for _, src := range []string{string(text), regexp.MustCompile(`(?m)^#(\[|\w+ =)`).ReplaceAllString(strings.ReplaceAll(string(text), "KEY]", "key]"), "$1")} {
		c, err := LoadInstall(policyFile(t, src))
		if err != nil {
			t.Fatal(err)
		}
		got, want := c.Rule("key"), InstallRule{Key: "key", Require: "signature", Keys: "/etc/spoke-zone-agent/keys/*.pub", Rollback: "auto"}
		if got != want {
			t.Errorf("rule %+v, want %+v", got, want)
		}
		c.Rules = nil
		if !reflect.DeepEqual(c, DefaultInstall()) || c.MaxPayload != 2<<30 || c.KeepDone != 20 {
			t.Errorf("policy %+v", c)
		}
	}
}

func TestInstallPolicyIsRead(t *testing.T) {
	c, err := LoadInstall(policyFile(t, `
[paths]
agent = /rw/agent/
[module.display]
hook = rauc          ; a shipped one
keys = "/rw/keys/*.pub"
[module.app]
hook = /opt/app/hook
require = digest
rollback = never
[limits]
max_payload = 64MiB
keep_done = 5
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []InstallRule{{"display", "rauc", "signature", "/rw/keys/*.pub", "auto"}, {"app", "/opt/app/hook", "digest", "/etc/spoke-zone-agent/keys/*.pub", "never"}}
	if !reflect.DeepEqual(c.Rules, want) || c.Agent != "/rw/agent" || c.MaxPayload != 64<<20 || c.KeepDone != 5 {
		t.Errorf("policy %+v", c)
	}
	if r := c.Rule("other"); r.Key != "other" || r.Require != "signature" {
		t.Errorf("a module that is not named: %+v", r)
	}
	if c, err := LoadInstall(filepath.Join(t.TempDir(), "none")); err != nil || !reflect.DeepEqual(c, DefaultInstall()) {
		t.Errorf("no file: %+v, %v", c, err)
	}
}

func TestEveryFaultOfInstallConfIsTold(t *testing.T) {
	name := policyFile(t, `x = 1
[module.Display]
hook = rauc
[module.display]
hook = ../rauc
require = sig
require = none
keys = keys/*.pub
keyz = /x
nonsense
[limits]
max_payload = 2GB
keep_done = 3
[module.app]
keys = /x/[.pub
rollback =
[log]
level = info
`)
	c, err := LoadInstall(name)
	var faults Faults
	if !errors.As(err, &faults) || c.Agent != DefaultInstall().Agent {
		t.Fatalf("%+v, %v", c, err)
	}
	want := `:1: x: stands before any section (paths, module.KEY, limits)
:2: [module.Display]: "Display" is no key of a module (lowercase letters, digits and hyphens, at most 64)
:5: module.display.hook: "../rauc" is neither a shipped hook nor an absolute path (rauc, swupdate, dpkg, file, or an absolute path)
:6: module.display.require: "sig" is none of the words (signature, digest or none)
:7: module.display.require: is set on line 6 already (once)
:8: module.display.keys: "keys/*.pub" is not absolute (an absolute path, in which * and ? stand for characters)
:9: module.display.keyz: is no setting (hook, require, keys, rollback)
:10: "nonsense" is no setting ([section], or key = value)
:12: limits.max_payload: "2GB" has the unit "GB", which is none of B, KiB, MiB, GiB and TiB (1KiB to 1TiB)
:13: limits.keep_done: 3 is below 4 (4 to 1000)
:15: module.app.keys: "/x/[.pub" is no pattern (an absolute path, in which * and ? stand for characters)
:16: module.app.rollback: is empty (auto or never)
:17: [log]: is no section (paths, module.KEY, limits)`
	if got := strings.ReplaceAll(faults.Error(), name, ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzInstall(f *testing.F) {
	f.Add([]byte(RenderInstall()))
	f.Add([]byte("[module.a]\nhook=/x\n[limits]\nmax_payload=1GiB"))
	f.Fuzz(func(t *testing.T, src []byte) {
		r := installReader{policy: DefaultInstall(), file: "f", seen: map[string]int{}}
		r.read(src)
		for _, rule := range r.policy.Rules {
			if rule.Require == "" || rule.Rollback == "" || rule.Keys == "" {
				t.Errorf("rule %+v", rule)
			}
		}
	})
}
