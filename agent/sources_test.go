package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// board makes the files of a system below a directory.
func board(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	deviceTree = "/sys/firmware/devicetree/base/serial-number"
	soc        = "/sys/devices/soc0/serial_number"
	cpuinfo    = "/proc/cpuinfo"
)

func TestCPUIDIsLookedForInOrder(t *testing.T) {
	all := map[string]string{deviceTree: "10000000abcdef\x00", soc: "0A1B2C\n", cpuinfo: "model name\t: ARMv7\nSerial\t\t: 00000000deadbeef\n"}
	without := func(paths ...string) map[string]string {
		m := map[string]string{}
		for path, text := range all {
			m[path] = text
		}
		for _, path := range paths {
			delete(m, path)
		}
		return m
	}
	for _, tt := range []struct {
		name         string
		settings     string
		file, kept   string
		system       map[string]string
		value, where string
	}{
		{"the settings", "s", "f", "k", all, "s", "settings"},
		{"the identity file", "", "f", "k", all, "f", "identity_file"},
		{"what the identity file said once", "", "", "k", all, "k", "state"},
		{"the device tree", "", "", "", all, "10000000abcdef", deviceTree},
		{"the SoC", "", "", "", without(deviceTree), "0A1B2C", soc},
		{"cpuinfo", "", "", "", without(deviceTree, soc), "00000000deadbeef", cpuinfo},
		{"nothing", "", "", "", nil, "", ""},
		{"zeros are no number", "", "", "", map[string]string{deviceTree: "0000000000000000\x00", soc: "\n", cpuinfo: "Serial : 0000000000000000\n"}, "", ""},
		{"nor is what does not print", "", "", "", map[string]string{deviceTree: "\x01\x02\xff\x00", soc: strings.Repeat("7", 300)}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Sources(conf.Identity{CPUID: tt.settings}, conf.IdentityFile{CPUID: tt.file}, Kept{CPUID: tt.kept}, board(t, tt.system))
			if used := Used(got, KeyCPUID); used.Value != tt.value || used.Name != tt.where {
				t.Errorf("got %+v", used)
			}
			if len(got) != 9 || Used(got, KeyUUID).Value != "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzCPUInfo(f *testing.F) {
	f.Add([]byte("Serial\t\t: 00000000deadbeef\n"))
	f.Add([]byte("Hardware : BCM2835\nSerial:\nSerial : \xff\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, id := range []string{cpuinfoSerial(b), whole(b)} {
			if len(id) > 256 || strings.TrimSpace(id) != id || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q is a serial number of %q", id, b)
			}
		}
	})
}

func TestAdvice(t *testing.T) {
	file := conf.IdentityFile{CPUID: "a", UUID: "u"}
	root := board(t, map[string]string{soc: "b\n", cpuinfo: "Serial : a\n"})
	for _, tt := range []struct {
		name    string
		sources []Source
		refusal int
		want    []string // in it; none means no advice
	}{
		{"the cloud says nothing against it", Sources(conf.Identity{}, file, Kept{}, root), 0, nil},
		{"the token is refused, not the identity", Sources(conf.Identity{}, file, Kept{}, root), 401, nil},
		{"nothing was looked at yet", nil, 400, nil},
		{"a wrong one, and another source", Sources(conf.Identity{}, file, Kept{}, root), 400,
			[]string{"cpu_id from the identity file and uuid from the identity file", "but " + soc + " says another cpu_id;", "[identity]"}},
		{"a wrong one, and no other source", Sources(conf.Identity{CPUID: "a"}, conf.IdentityFile{UUID: "u"}, Kept{}, t.TempDir()), 400,
			[]string{"cpu_id from the settings and uuid from the identity file", "no other source says otherwise"}},
		{"none at all", Sources(conf.Identity{}, conf.IdentityFile{}, Kept{}, t.TempDir()), 0,
			[]string{"no source tells cpu_id and uuid", "looked for in the settings, the identity file, the state directory, " + deviceTree}},
		{"no uuid", Sources(conf.Identity{CPUID: "a"}, conf.IdentityFile{}, Kept{}, t.TempDir()), 0, []string{"no source tells uuid,", "looked for in the settings, the identity file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Advice(tt.sources, tt.refusal)
			if (got != "") != (tt.want != nil) {
				t.Errorf("got %q", got)
			}
			for _, part := range tt.want {
				if !strings.Contains(got, part) {
					t.Errorf("%q is not in %q", part, got)
				}
			}
		})
	}
}

func TestAWrongCPUIDIsExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{TokenLife: 10 * time.Hour})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.conf.Identity.CPUID = "a-wrong-one"
		gw.start(t)
		time.Sleep(8 * time.Hour)
		s := gw.g.status()
		if s.Token.State != "refused" || s.Token.Refusal != 400 || s.Token.Since.IsZero() {
			t.Errorf("token %+v", s.Token)
		}
		if want := "the identity file says another cpu_id"; !strings.Contains(s.Identity.Advice, want) || !strings.Contains(strings.Join(s.Problems, "\n"), want) {
			t.Errorf("advice %q, problems %q", s.Identity.Advice, s.Problems)
		}
		states := map[string]string{}
		for _, source := range s.Identity.Sources {
			states[source.Key+" "+source.Name] = source.State
		}
		for where, want := range map[string]string{"cpu_id settings": "used", "cpu_id identity_file": "differs", "uuid settings": "absent", "uuid identity_file": "used"} {
			if states[where] != want {
				t.Errorf("%s is %q, want %q", where, states[where], want)
			}
		}
		gw.stop(t)
	})
}
