package doctor

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// installers are what may be wrong with the installer's files, or right.
func installers() (all []illness) {
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
		all = append(all, illness{"installer: " + c.name, func(t *testing.T, w *ward) {
			w.settings = "[module.display]\nversion_file = /etc/display-version\n" + c.module + "\n"
			files := map[string]string{"install.conf": c.policy}
			maps.Copy(files, c.files)
			for name, text := range files {
				path := filepath.Join(w.root, "etc/spoke-zone-agent", name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
					t.Fatal(err)
				}
			}
		}, "installer", c.want, c.text, ""})
	}
	return all
}
