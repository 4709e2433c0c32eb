package ota

import (
	"strings"
	"testing"
	"time"
)

// TestEachDecisionIsExplained reads what is said of each state, and of each thing
// that keeps an update from going on.
func TestEachDecisionIsExplained(t *testing.T) {
	said := map[string]string{}
	tell := func(what string, s ModuleStatus, words ...string) {
		t.Helper()
		text := s.reason()
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q says nothing of %q", what, text, w)
			}
		}
		if before, ok := said[text]; ok || text == "" {
			t.Errorf("%s and %s: %q", what, before, text)
		}
		said[text] = what
	}
	held, checked := &Release{ID: "7", Version: "1.1"}, time.Unix(1e9, 0)
	for phase, words := range map[Phase][]string{
		Selected: {"fetching 1.1"}, Ready: {"1.1 is fetched", "the window"}, Installing: {"installs 1.1", "40 %", "unpacking"}, Rebooting: {"reboots"},
		Verifying: {"1.1 runs on probation", "no route"}, Committing: {"permanent"}, RollingBack: {"going back from 1.1", "the hook finds it ill", "40 %"},
		Broken: {"a person must act", "the hook finds it ill"},
	} {
		s := ModuleStatus{Phase: phase, Held: held, LastCheck: checked, Cause: "the hook finds it ill", Percent: 40, Step: "unpacking"}
		if phase == Ready {
			s.Waits = "the window opens at three"
		}
		if phase == Verifying {
			s.LastError = "no route"
		}
		tell(phase.String(), s, words...)
	}
	tell("fetching waits", ModuleStatus{Phase: Downloading, Held: held, NextTry: checked, LastError: "503"}, "waits for another try: 503")
	tell("a fault", ModuleStatus{Fault: "the disk has failed"}, "updates are off: the disk has failed")
	tell("an error", ModuleStatus{LastError: "no route"}, "no route")
	tell("nothing read", ModuleStatus{}, "not been read yet")
	tell("denied", ModuleStatus{LastCheck: checked, Denied: "1.1 is passed over: it was ill"}, "passed over: it was ill")
	tell("notify", ModuleStatus{LastCheck: checked, Offered: held, Policy: Notify}, "policy notify")
	tell("not fetched", ModuleStatus{LastCheck: checked, Offered: held, Policy: Fetch}, "not being fetched")
	tell("nothing newer", ModuleStatus{LastCheck: checked, Installed: "1.0"}, "newer than 1.0")
	tell("nothing at all", ModuleStatus{LastCheck: checked}, "no active release")
}

func TestWhatKeepsAnUpdateBack(t *testing.T) {
	window, err := ParseWindow("03:00-04:00")
	if err != nil {
		t.Fatal(err)
	}
	night := time.Date(2026, 3, 1, 3, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		l    leave
		want string // "" is leave
	}{
		{"all is well", leave{policy: Install, installer: true}, ""},
		{"policy fetch", leave{policy: Fetch, installer: true}, "policy fetch waits for a person's word: ota install"},
		{"and a person's word", leave{policy: Fetch, approved: approved, installer: true}, ""},
		{"no installer", leave{policy: Install}, "no installer is set up on this device"},
		{"another contract", leave{policy: Install, installer: true, foreign: "the hook speaks version 2"}, "the hook speaks version 2"},
		{"the hook's wish", leave{policy: Install, installer: true, early: 90 * time.Second}, "the hook asked to wait another 1m30s"},
		{"the hook's wish beside a person's", leave{approved: approvedNow, installer: true, early: time.Second}, "the hook asked to wait another 1s"},
		{"before the window", leave{policy: Install, installer: true, window: window, now: night.Add(-time.Hour)}, "the window opens at Sun 2026-03-01 03:00 UTC"},
		{"in it", leave{policy: Install, installer: true, window: window, now: night}, ""},
		{"after it", leave{policy: Install, installer: true, window: window, now: night.Add(time.Hour)}, "the window opens at Mon 2026-03-02 03:00 UTC"},
		{"now", leave{policy: Install, approved: approvedNow, installer: true, window: window, now: night.Add(time.Hour)}, ""},
		{"no time yet", leave{policy: Install, installer: true, window: window}, "the window is open at certain times, and the time is not known yet"},
	} {
		if ok, why := c.l.granted(); ok != (c.want == "") || why != c.want {
			t.Errorf("%s: %v, %q, want %q", c.name, ok, why, c.want)
		}
	}
}
