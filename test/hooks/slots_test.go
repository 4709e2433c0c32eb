package hooks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A device has two copies of its system and a bootloader that picks one.
type device struct {
	hook    string
	install func(t *testing.T) *hook
	// boots is the bootloader's part of a start of the machine; broken means that
	// the copy on probation does not come up.
	boots func(t *testing.T, h *hook, broken bool)
	// copy is the copy that runs: "1" the old one.
	copy func(t *testing.T, h *hook) string
	// committed reports whether the running copy stays.
	committed func(t *testing.T, h *hook) bool
}

func (h *hook) fakes(t *testing.T, variable string) string {
	t.Helper()
	bin, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	h.path = bin
	state := filepath.Join(h.dir, "device")
	h.env = append(h.env, variable+"="+state)
	h.payload = filepath.Join(h.dir, "payload")
	return state
}

func line(t *testing.T, path string) string {
	t.Helper()
	if !exists(path) {
		return ""
	}
	return strings.TrimSpace(read(t, path))
}

var devices = []device{
	{
		hook: "rauc",
		install: func(t *testing.T) *hook {
			h := newHook(t, "rauc", "", "")
			d := h.fakes(t, "RAUC_STATE")
			write(t, filepath.Join(d, "booted"), "1\n")
			write(t, filepath.Join(d, "primary"), "1\n")
			write(t, h.payload, "bundle board 2.0 abcdef\n")
			return h
		},
		boots: func(t *testing.T, h *hook, broken bool) {
			d := filepath.Join(h.dir, "device")
			h.boot += "+"
			if !broken {
				write(t, filepath.Join(d, "booted"), read(t, filepath.Join(d, "primary")))
			}
		},
		copy: func(t *testing.T, h *hook) string { return line(t, filepath.Join(h.dir, "device/booted")) },
		committed: func(t *testing.T, h *hook) bool {
			return line(t, filepath.Join(h.dir, "device/good")) == "2"
		},
	},
	{
		hook: "swupdate",
		install: func(t *testing.T) *hook {
			h := newHook(t, "swupdate", "RUNNING='cat @/device/booted'\nROOT_A=1\nROOT_B=2\n", "")
			d := h.fakes(t, "SWUPDATE_STATE")
			write(t, filepath.Join(d, "booted"), "1\n")
			write(t, h.payload, "swu 2.0\n")
			return h
		},
		boots: func(t *testing.T, h *hook, broken bool) {
			d := filepath.Join(h.dir, "device")
			h.boot += "+"
			other := map[string]string{"1": "2\n", "2": "1\n"}[line(t, filepath.Join(d, "booted"))]
			switch line(t, filepath.Join(d, "ustate")) {
			case "1":
				if broken { // it came back to the first copy by itself
					write(t, filepath.Join(d, "ustate"), "0\n")
					return
				}
				write(t, filepath.Join(d, "booted"), other)
				write(t, filepath.Join(d, "ustate"), "2\n")
			case "2", "3":
				write(t, filepath.Join(d, "booted"), other)
				write(t, filepath.Join(d, "ustate"), "0\n")
			}
		},
		copy:      func(t *testing.T, h *hook) string { return line(t, filepath.Join(h.dir, "device/booted")) },
		committed: func(t *testing.T, h *hook) bool { return line(t, filepath.Join(h.dir, "device/ustate")) == "0" },
	},
}

func eachDevice(t *testing.T, run func(t *testing.T, d device, h *hook)) {
	for _, d := range devices {
		t.Run(d.hook, func(t *testing.T) { run(t, d, d.install(t)) })
	}
}

func TestSlotsStay(t *testing.T) {
	eachDevice(t, func(t *testing.T, d device, h *hook) {
		h.says(t, "info", ok, "@set reboot=always")
		h.want(t, "check", ok)
		h.want(t, "probe", previous)
		h.want(t, "install", okReboot)
		h.want(t, "probe", staged)
		d.boots(t, h, false)
		h.want(t, "probe", active)
		h.want(t, "verify", ok)
		h.want(t, "commit", ok)
		h.want(t, "commit", ok)
		d.boots(t, h, false)
		h.want(t, "probe", active)
		if got := d.copy(t, h); got != "2" || !d.committed(t, h) {
			t.Errorf("copy %s runs, committed %v", got, d.committed(t, h))
		}
		h.want(t, "cleanup", ok)
	})
}

func TestSlotsGoBack(t *testing.T) {
	eachDevice(t, func(t *testing.T, d device, h *hook) {
		h.want(t, "rollback", ok) // before anything was done
		h.want(t, "install", okReboot)
		h.want(t, "rollback", ok) // not started yet
		h.want(t, "probe", previous)
		d.boots(t, h, false)
		if got := d.copy(t, h); got != "1" {
			t.Fatalf("copy %s runs", got)
		}
		h.want(t, "install", okReboot)
		d.boots(t, h, false)
		h.want(t, "rollback", okReboot) // from the new one
		h.want(t, "rollback", okReboot)
		d.boots(t, h, false)
		h.want(t, "probe", previous)
		h.want(t, "rollback", ok)
		if got := d.copy(t, h); got != "1" {
			t.Errorf("copy %s runs", got)
		}
	})
}

// TestSlotsFellBack is a new copy that does not come up.
func TestSlotsFellBack(t *testing.T) {
	eachDevice(t, func(t *testing.T, d device, h *hook) {
		h.want(t, "install", okReboot)
		d.boots(t, h, true)
		h.says(t, "verify", unchanged, "fell back")
		h.want(t, "rollback", ok)
		h.want(t, "probe", previous)
	})
}

func TestSlotsRefuse(t *testing.T) {
	eachDevice(t, func(t *testing.T, d device, h *hook) {
		write(t, h.payload, "something else")
		h.says(t, "check", reject, "does not accept")
	})
}

// TestSlotsCutAnywhere kills the hook at each of its calls; the device then
// starts anew, or does not.
func TestSlotsCutAnywhere(t *testing.T) {
	for _, d := range devices {
		for _, verb := range []string{"install", "commit", "rollback"} {
			t.Run(d.hook+"/"+verb, func(t *testing.T) {
				t.Parallel()
				n := 1
				for d.cut(t, verb, n) {
					n++
				}
				if n == 1 {
					t.Error("it was never cut: are the shims in use?")
				}
			})
		}
	}
}

// cut reports whether there was an n-th call to cut at.
func (d device) cut(t *testing.T, verb string, n int) bool {
	t.Helper()
	h := d.install(t)
	if verb != "install" {
		h.want(t, "install", okReboot)
		d.boots(t, h, false)
	}
	path := h.path
	h.crashing(t, n, n%2 == 0, "rauc", "swupdate", "fw_setenv", "fw_printenv", "sync", "mv", "rm")
	if h.run(t, verb) != killed {
		return false
	}
	h.path = path
	switch verb {
	case "install":
		if state := h.restart(t); state != staged {
			t.Fatalf("cut at call %d: probe says %d\n%s", n, state, h.said)
		}
		d.boots(t, h, false)
		h.want(t, "probe", active)
		h.want(t, "verify", ok)
		h.want(t, "rollback", okReboot)
		d.boots(t, h, false)
	case "commit":
		h.want(t, "probe", active)
		h.want(t, "commit", ok)
		d.boots(t, h, false)
		h.want(t, "probe", active)
		return true
	case "rollback":
		if h.run(t, "rollback") == okReboot {
			d.boots(t, h, false)
		}
	}
	h.want(t, "probe", previous)
	if got := d.copy(t, h); got != "1" {
		t.Fatalf("cut at call %d: copy %s runs", n, got)
	}
	return true
}

func TestRaucRefusesTheWrongDevice(t *testing.T) {
	h := devices[0].install(t)
	write(t, h.payload, "bundle toaster 2.0 abcdef\n")
	h.says(t, "check", wrongDevice, "the bundle is for toaster, this device is board")
}

// TestRaucGoesOn is a service that installs although the one who asked is gone.
func TestRaucGoesOn(t *testing.T) {
	h := devices[0].install(t)
	busy := filepath.Join(h.dir, "device/busy")
	write(t, busy, "")
	h.want(t, "probe", running)
	h.want(t, "install", later)
	h.want(t, "rollback", ok) // this update has asked for nothing yet
	if err := os.Remove(busy); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(h.dir, "device/fail"), "1")
	h.want(t, "install", unchanged)
	write(t, filepath.Join(h.dir, "device/fail"), "2")
	h.want(t, "install", retry)
	h.want(t, "probe", previous)
}

func TestSwupdateTellsWhatItKnows(t *testing.T) {
	h := devices[1].install(t)
	h.settings(t, "RUNNING='cat @/device/booted'\nROOT_A=7\nROOT_B=8\n")
	h.says(t, "install", wrongDevice, "neither ROOT_A nor ROOT_B")
	h = devices[1].install(t)
	write(t, filepath.Join(h.dir, "device/fail"), "")
	h.want(t, "install", unchanged)
	h.want(t, "probe", previous)
	write(t, filepath.Join(h.dir, "device/recovery_status"), "in_progress\n")
	h.want(t, "probe", damaged)
	write(t, h.payload, "not one")
	h.want(t, "check", reject)
}
