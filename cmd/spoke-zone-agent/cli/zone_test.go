package cli

import (
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // golden files have times
	os.Exit(m.Run())
}

func TestTimesAreInTheGatewaysZone(t *testing.T) {
	defer func(was *time.Location) { time.Local = was }(time.Local)
	time.Local = time.FixedZone("CET", 3600)
	if got, want := timeText(noon.Add(-90*time.Minute), noon), "2026-11-22 11:30 CET (1 h 30 min ago)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
