package agent

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func TestWritingIsConfinedToWhatTheSettingsName(t *testing.T) {
	gw := newGateway(t, cloudtest.New(cloudtest.Options{}))
	var asked []string
	r := &runner{Options: Options{Log: slog.New(slog.DiscardHandler), Confine: func(dirs ...string) (int, error) { asked = dirs; return 3, nil }}}
	gw.conf.Paths.State = filepath.Join(gw.dir, "none", "yet")
	r.settings.Set(settings{Config: gw.conf})
	r.confine()
	if _, err := os.Stat(gw.conf.Paths.State); err != nil {
		t.Errorf("could never be made: %v", err)
	}
	for _, dir := range []string{gw.conf.Paths.State, gw.conf.Paths.Run, gw.conf.Paths.Spool, gw.dir} {
		if !slices.Contains(asked, dir) {
			t.Errorf("%s is not among %q", dir, asked)
		}
	}
	if slices.Contains(asked, "/") || slices.Contains(asked, "/etc") {
		t.Errorf("too much: %q", asked)
	}
	if err := r.beyond(gw.conf); err != nil {
		t.Errorf("under the same settings: %v", err)
	}
	moved := gw.conf
	moved.Paths.State = "/elsewhere/state"
	if err := r.beyond(moved); err == nil || !strings.Contains(err.Error(), "/elsewhere/state: restart it") {
		t.Errorf("a state directory that moved: %v", err)
	}
}

// The token of a gateway that is provisioned later is written where the
// vendor's link leads, and by then the agent is confined.
func TestWritingIsConfinedToWhereALinkWillLead(t *testing.T) {
	gw := newGateway(t, cloudtest.New(cloudtest.Options{}))
	data, etc := filepath.Join(gw.dir, "rw_data"), filepath.Join(gw.dir, "etc")
	for _, dir := range []string{data, etc} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"spoke-zone.conf": "again.conf", "again.conf": filepath.Join(data, "spoke-zone.conf"), "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(etc, name)); err != nil {
			t.Fatal(err)
		}
	}
	gw.conf.Paths.Identity = filepath.Join(etc, "spoke-zone.conf")
	before := writable(gw.conf)
	if !slices.Contains(before, data) {
		t.Errorf("%s is not among %q", data, before)
	}
	if err := os.WriteFile(filepath.Join(data, "spoke-zone.conf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if after := writable(gw.conf); !slices.Equal(after, before) {
		t.Errorf("once the file is there: %q, before: %q", after, before)
	}
	if got := home(filepath.Join(etc, "loop")); got != etc {
		t.Errorf("a link to itself leads to %s", got)
	}
}

func TestAKernelWithoutLandlockIsNoTrouble(t *testing.T) {
	gw := newGateway(t, cloudtest.New(cloudtest.Options{}))
	r := &runner{Options: Options{Log: slog.New(slog.DiscardHandler), Confine: func(...string) (int, error) { return 0, errors.New("no Landlock") }}}
	r.settings.Set(settings{Config: gw.conf})
	r.confine()
	if want := (local.Sandbox{Missing: "no Landlock"}); r.sandbox != want {
		t.Errorf("the status has %+v, want %+v", r.sandbox, want)
	}
	gw.conf.Paths.State = "/elsewhere"
	if err := r.beyond(gw.conf); err != nil {
		t.Error(err)
	}
}
