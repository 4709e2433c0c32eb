package ota

import (
	"testing"
	"time"
)

// TestIdleModuleWakesNobody between two checks.
func TestIdleModuleWakesNobody(t *testing.T) {
	for _, c := range []struct {
		name  string
		state Phase
		again time.Time
		want  bool
	}{
		{"nothing offered", Idle, time.Time{}, false},
		{"selected", Selected, time.Time{}, false},
		{"fetched and not installed", Ready, time.Time{}, true},
		{"an outcome to report again", Idle, time.Now(), true},
	} {
		w := &worker{room: &room{}, reportAt: c.again}
		w.room.rec.State = c.state
		if got := w.waits(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if new(worker).waits() {
		t.Error("without a room")
	}
}
