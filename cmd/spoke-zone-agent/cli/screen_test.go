package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestStatusScreens(t *testing.T) {
	goldenScreens(t, "testdata/*.json", 4, func(s local.Status) string { return screen(s, noon) })
}

// goldenScreens compares what show makes of each status with the text beside
// it.
func goldenScreens(t *testing.T, pattern string, least int, show func(local.Status) string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) < least {
		t.Fatalf("screens: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var s local.Status
			dec := json.NewDecoder(bytes.NewReader(b))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&s); err != nil {
				t.Fatal(err)
			}
			got := show(s)
			golden := strings.TrimSuffix(file, ".json") + ".txt"
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestScreensFitTheTerminal feeds the screen with what other machines may say.
func TestScreensFitTheTerminal(t *testing.T) {
	word := rapid.StringN(0, 20, 60)
	text := rapid.SliceOfN(word, 0, 20)
	when := rapid.Custom(func(t *rapid.T) time.Time { return time.Unix(rapid.Int64().Draw(t, "unix"), 0) })
	rapid.Check(t, func(t *rapid.T) {
		say := func(label string) string { return strings.Join(text.Draw(t, label), " ") }
		s := local.Status{
			Version: say("version"), Started: when.Draw(t, "started"), Problems: text.Draw(t, "problems"),
			Identity: local.Identity{DeviceID: say("device"), Source: say("source"), Error: say("identity")},
			Token:    local.Token{State: say("state"), Expires: when.Draw(t, "expires"), LastError: say("error"), Reason: say("reason")},
			MQTT:     local.MQTT{State: say("mqtt"), Error: say("error"), Broker: say("broker"), NextTry: when.Draw(t, "next")},
			OTA: []local.Module{{Module: say("module"), Installed: say("installed"), Offered: say("offered"), Error: say("error"),
				Bytes: rapid.Int64().Draw(t, "bytes"), Total: rapid.Int64().Draw(t, "total"), Rate: rapid.Int64().Draw(t, "rate")}},
			Upload: local.Upload{InFlight: say("file"), QueuedBytes: rapid.Int64().Draw(t, "queued")},
			Clock:  local.Clock{ServerOffset: rapid.Float64().Draw(t, "offset"), Source: "server"},
		}
		for line := range strings.Lines(screen(s, noon)) {
			line, whole := strings.CutSuffix(line, "\n")
			if !whole || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("line %q is not plain text", line)
			}
			if n := utf8.RuneCountInString(line); n > defaultColumns && strings.Contains(strings.TrimSpace(line[min(indent, len(line)):]), " ") {
				t.Fatalf("line %q has %d columns", line, n)
			}
		}
	})
}

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 1<<20 - 1: "1.0 MiB",
		120 << 20: "120.0 MiB", 3 << 30: "3.0 GiB", 5 << 40: "5.0 TiB", 1 << 60: "1048576.0 TiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestSpansForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", -time.Minute: "1 min", 90 * time.Second: "1 min 30 s",
		26 * time.Hour: "1 d 2 h", 48 * time.Hour: "2 d", 3*time.Hour + 5*time.Minute: "3 h 5 min", 1<<63 - 1: "292 years", -1 << 63: "292 years",
	} {
		if got := spanText(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
