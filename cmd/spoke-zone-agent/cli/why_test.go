package cli

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

func TestWhy(t *testing.T) {
	goldenScreens(t, "testdata/why/*.json", 18, func(s local.Status) string { return why(s, noon) })
}

func TestWhyTellsOfOneTopicAlone(t *testing.T) {
	for _, topic := range topics() {
		label := map[string]string{"token": "Token ", "mqtt": "MQTT ", "ota": "Updates ", "upload": "Uploads "}[topic]
		text := why(local.Status{Token: local.Token{State: "valid"}}, noon, topic)
		if !strings.HasPrefix(text, label) || strings.Count(why(local.Status{}, noon), text[:10]) != 1 {
			t.Errorf("%s: got %q", topic, text)
		}
	}
}

// TestEachStateOfTheTokenHasItsSentences also for a daemon that tells nothing
// beside the state.
func TestEachStateOfTheTokenHasItsSentences(t *testing.T) {
	seen := map[string]string{}
	for _, state := range []string{"none", "valid", "renewing", "stale", "refused", "expired", "a new one"} {
		said := whyToken(local.Status{Token: local.Token{State: state}}, noon)
		if len(said) == 0 {
			t.Errorf("%s: nothing is said", state)
			continue
		}
		if before, ok := seen[said[0]]; ok {
			t.Errorf("%s and %s begin alike: %s", state, before, said[0])
		}
		seen[said[0]] = state
	}
}

func TestWhyIsSentences(t *testing.T) {
	text := rapid.StringN(0, 30, 90)
	when := rapid.Custom(func(t *rapid.T) time.Time { return time.Unix(rapid.Int64().Draw(t, "unix"), 0) })
	state := rapid.SampledFrom([]string{"", "none", "valid", "renewing", "stale", "refused", "expired", "online", "connecting", "offline"})
	rapid.Check(t, func(t *rapid.T) {
		s := local.Status{
			Identity: local.Identity{Error: text.Draw(t, "error"), Advice: text.Draw(t, "advice")},
			Token: local.Token{State: state.Draw(t, "token"), Since: when.Draw(t, "since"), Expires: when.Draw(t, "expires"),
				PointOfNoReturn: when.Draw(t, "closes"), LastError: text.Draw(t, "error"), Reason: text.Draw(t, "reason"), Spent: rapid.Float64().Draw(t, "spent")},
			MQTT:   local.MQTT{State: state.Draw(t, "mqtt"), Error: text.Draw(t, "error"), NextTry: when.Draw(t, "next")},
			OTA:    []local.Module{{Module: text.Draw(t, "module"), Reason: text.Draw(t, "reason")}},
			Upload: local.Upload{Queued: rapid.Int().Draw(t, "queued"), Error: text.Draw(t, "error"), NextTry: when.Draw(t, "next")},
			Clock:  local.Clock{ServerOffset: rapid.Float64().Draw(t, "offset")},
		}
		for line := range strings.Lines(why(s, noon)) {
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("line %q is not plain text", line)
			}
		}
		for _, said := range whyToken(s, noon) {
			if !strings.HasSuffix(said, ".") {
				t.Fatalf("%q is no sentence", said)
			}
		}
	})
}
