package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// A condition is something that is looked at until it holds. seen is what
// there is, in words.
type condition func(ctx context.Context, s *stage) (seen string, ok bool)

// conditions are what can be looked at.
var conditions = []form[condition]{
	{"device online|offline", "The gateway has a session at the broker, or none.",
		func(w words) condition {
			want := w.one("online|offline")
			return func(_ context.Context, s *stage) (string, bool) {
				n := s.cloud.Online(s.device.ID)
				return fmt.Sprintf("the device has %d sessions", n), (n > 0) == (want == "online")
			}
		}},
	{"version MODULE VERSION", "The cloud knows that version of the module, because the gateway published it.",
		func(w words) condition {
			return func(_ context.Context, s *stage) (string, bool) {
				v := s.cloud.Versions(s.device.ID)[w.one("MODULE")]
				return fmt.Sprintf("the cloud knows version %q", v), v == w.one("VERSION")
			}
		}},
	{"installed MODULE VERSION", "That version is what is installed, whole.",
		func(w words) condition {
			return func(_ context.Context, s *stage) (string, bool) {
				b, err := os.ReadFile(s.path("installed", w.one("MODULE")))
				if err != nil {
					return err.Error(), false
				}
				return fmt.Sprintf("%q is installed", b), string(b) == w.one("VERSION")+"\n"
			}
		}},
	{"status PATH is|not|has|over|under TEXT", "A value of `status --json`: it is TEXT, it is not, it has TEXT in it, or it is a number over or under it. A module is reached by its name: ota.display.phase.",
		func(w words) condition {
			return func(ctx context.Context, s *stage) (string, bool) {
				value, err := s.statusValue(ctx, w.one("PATH"))
				if err != nil {
					return err.Error(), false
				}
				return fmt.Sprintf("%s is %q", w.one("PATH"), value), compare(value, w.one("is|not|has|over|under"), w.one("TEXT"))
			}
		}},
	{"why|doctor|log has TEXT", "What `why` or `doctor` prints, or the agent's log, has TEXT in it.",
		func(w words) condition {
			return func(ctx context.Context, s *stage) (string, bool) {
				text := s.said(ctx, w.one("why|doctor|log"))
				return "it says:\n" + lastLines(text, 12), strings.Contains(strings.Join(strings.Fields(text), " "), w.one("TEXT"))
			}
		}},
	{"messages arrived [once]", "Every message that was published is at the cloud, in order; and none twice.",
		func(w words) condition {
			return func(_ context.Context, s *stage) (string, bool) {
				return s.sent.arrived(s.cloud.Messages(), w.has("once"))
			}
		}},
	{"files arrived", "Every data file that was dropped is at the cloud, whole and once.",
		func(words) condition {
			return func(_ context.Context, s *stage) (string, bool) { return s.filesArrived() }
		}},
	{"identity current", "spoke-zone.conf holds the newest token, and every other byte is as others wrote it.",
		func(words) condition {
			return func(_ context.Context, s *stage) (string, bool) { return s.identityNow() }
		}},
	{"hook check|install|effect|verify|commit|rollback VERSION", "The hook has been called with that verb for that version; or its new version is in place.",
		func(w words) condition {
			line := w.one("check|install|effect|verify|commit|rollback") + " " + w.one("VERSION")
			return func(_ context.Context, s *stage) (string, bool) {
				b, _ := os.ReadFile(s.path("calls")) // there is none before the first call
				calls := strings.Split(strings.TrimSpace(string(b)), "\n")
				return "the hook was called with: " + strings.Join(calls, ", "), slices.Contains(calls, line)
			}
		}},
	{"fault NAME over", "A fault that was to happen N times has happened so often.",
		func(w words) condition {
			return func(_ context.Context, s *stage) (string, bool) {
				position, on := s.cloud.Switches()[cloudtest.Fault(w.one("NAME"))]
				return fmt.Sprintf("its switch is at %q", position), !on
			}
		}},
	{"agent running|ended", "The agent runs, or has ended.",
		func(w words) condition {
			return func(_ context.Context, s *stage) (string, bool) {
				return fmt.Sprintf("it runs: %v", s.agent.running()), s.agent.running() == (w.one("running|ended") == "running")
			}
		}},
	{"memory under SIZE", "The agent never had more in memory.",
		func(w words) condition {
			return func(_ context.Context, s *stage) (string, bool) {
				n, err := s.agent.memory()
				if err != nil {
					return err.Error(), false
				}
				return fmt.Sprintf("it had %.1f MiB at most", float64(n)/(1<<20)), n < w.size("SIZE")
			}
		}},
}

// said is a text of the agent's.
func (s *stage) said(ctx context.Context, what string) string {
	if what != "log" {
		return s.output(ctx, what)
	}
	b, err := os.ReadFile(s.path("agent.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// statusValue is one value of the status, as text.
func (s *stage) statusValue(ctx context.Context, path string) (string, error) {
	status, err := s.client.Status(ctx)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(status)
	if err != nil {
		return "", err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return "", err
	}
	for name := range strings.SplitSeq(path, ".") {
		v = inside(v, name)
	}
	switch v := v.(type) {
	case nil:
		return "", nil // absent is empty
	case string:
		return v, nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	text, err := json.Marshal(v)
	return string(text), err
}

// inside is what v has under a name: a field, or the element of a list that is
// so named.
func inside(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		return v[name]
	case []any:
		for _, e := range v {
			if m, is := e.(map[string]any); is && (m["module"] == name || m["account"] == name || m["type"] == name) {
				return m
			}
		}
	}
	return nil
}

// compare reports whether value stands so to want.
func compare(value, how, want string) bool {
	switch how {
	case "is":
		return value == want
	case "not":
		return value != want
	case "has":
		return strings.Contains(value, want)
	}
	a, aerr := strconv.ParseFloat(value, 64)
	b, berr := strconv.ParseFloat(want, 64)
	return aerr == nil && berr == nil && (how == "over" && a > b || how == "under" && a < b)
}
