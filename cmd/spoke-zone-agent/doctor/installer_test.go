package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheInstallerIsExamined(t *testing.T) {
	const key = "untrusted comment: a key\nRWQAAQIDBAUGBwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
	for _, c := range []struct {
		name, module, policy string
		files                map[string]string
		want                 Verdict
		text                 string
	}{
		{"no hook, none needed", "", "", nil, OK, "no module is there to be installed"},
		{"no hook, and one needed", "policy = install", "", nil, Fail, "module display: there is no hook"},
		{"a hook and a key", "", "", map[string]string{"hooks.d/display": "#!/bin/sh\n", "keys/a.pub": key}, OK, "signed with 0706050403020100"},
		{"no key", "", "", map[string]string{"hooks.d/display": "#!/bin/sh\n"}, Fail, "names no public key"},
		{"a bad key", "", "", map[string]string{"hooks.d/display": "#!/bin/sh\n", "keys/a.pub": "x"}, Fail, "a.pub: no minisign public key"},
		{"nothing required", "", "[module.display]\nrequire = none\n", map[string]string{"hooks.d/display": "#!/bin/sh\n"}, Warn, "whatever the cloud offers is installed"},
		{"a digest", "", "[module.display]\nrequire = digest\n", map[string]string{"hooks.d/display": "#!/bin/sh\n"}, OK, "that nobody has signed"},
		{"a fault", "", "[module.display]\nrequire = sig\n", nil, Fail, "install.conf:2: module.display.require: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWard(t)
			w.settings = "[module.display]\nversion_file = /etc/display-version\n" + c.module + "\n"
			files := map[string]string{"install.conf": c.policy}
			for name, text := range c.files {
				files[name] = text
			}
			for name, text := range files {
				path := filepath.Join(w.root, "etc/spoke-zone-agent", name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			found := w.examine(t)["installer"]
			for _, f := range found {
				if f.Verdict != c.want || !strings.Contains(f.Text, c.text) {
					t.Errorf("%s: %s, want %s with %q", f.Verdict, f.Text, c.want, c.text)
				}
			}
			if len(found) != 1 {
				t.Errorf("%d findings", len(found))
			}
		})
	}
}
