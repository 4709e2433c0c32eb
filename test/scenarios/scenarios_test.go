//go:build integration

// Package scenarios plays the shipped scenarios with the built programs, as a
// person does.
package scenarios

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-sim/scenario"
)

// asked are those that have to be there.
var asked = []string{
	"1970", "bad-update", "broker-kill", "first-boot", "full-disk", "hostile-cloud",
	"power-cut-during-install", "rotation-under-load", "two-writers", "year-off",
}

// patience is how many times as long as it says a scenario may wait here: what
// it shows does not depend on how fast the machine is.
const patience = "3"

func TestScenarios(t *testing.T) {
	program, err := filepath.Abs("../../build/spoke-zone-sim")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v (make build comes first)", err)
	}
	names, texts := scenario.Shipped()
	for _, name := range asked {
		if !slices.Contains(names, name) {
			t.Errorf("there is no scenario %s", name)
		}
	}
	var mu sync.Mutex
	var rows []string
	start := time.Now()
	t.Run("play", func(t *testing.T) {
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, err := scenario.Parse(name, texts[name])
				if err != nil {
					t.Fatal(err)
				}
				began, word := time.Now(), "ok"
				// It ends by its own limits; this is for one that hangs.
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
				defer cancel()
				out, err := exec.CommandContext(ctx, program, "run", name, "--patience", patience).CombinedOutput()
				if err != nil {
					word = "FAIL"
					t.Errorf("%v\n%s", err, out)
				}
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, fmt.Sprintf("  %-8s scenario %s, %.0f s: %s", word, name, time.Since(began).Seconds(), s.Shows))
			})
		}
	})
	slices.Sort(rows)
	fmt.Printf("%s\n  %d scenarios in %.0f s\n", strings.Join(rows, "\n"), len(rows), time.Since(start).Seconds())
}
