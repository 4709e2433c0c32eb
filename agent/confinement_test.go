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

func TestAKernelWithoutLandlockIsNoTrouble(t *testing.T) {
	gw := newGateway(t, cloudtest.New(cloudtest.Options{}))
	r := &runner{Options: Options{Log: slog.New(slog.DiscardHandler), Confine: func(...string) (int, error) { return 0, errors.New("no Landlock") }}}
	r.settings.Set(settings{Config: gw.conf})
	r.confine()
	gw.conf.Paths.State = "/elsewhere"
	if err := r.beyond(gw.conf); err != nil {
		t.Error(err)
	}
}
