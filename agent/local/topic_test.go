package local

import (
	"strings"
	"testing"
)

func TestTopicStaysUnderTheBase(t *testing.T) {
	const base = "mrs/d/12"
	for topic, want := range map[string]string{
		"mon/door":                 "mrs/d/12/mon/door",
		"a b/ü":                    "mrs/d/12/a b/ü",
		"/mrs/d/12/mon/door":       "mrs/d/12/mon/door",
		"mrs/d/13/mon/door":        "mrs/d/12/mrs/d/13/mon/door",
		"..":                       "mrs/d/12/..",
		"controls":                 "mrs/d/12/controls",
		"$SYS/broker":              "mrs/d/12/$SYS/broker",
		"":                         "",
		"/":                        "",
		"/mrs/d/12":                "",
		"/mrs/d/12/":               "",
		"/mrs/d/123/mon/door":      "",
		"/mrs/d/1/mon/door":        "",
		"//mrs/d/12/mon/door":      "",
		"/$SYS/broker":             "",
		"mon/+":                    "",
		"mon/#":                    "",
		"#":                        "",
		"mon//door":                "",
		"mon/":                     "",
		"mon/\x00":                 "",
		"mon/\n":                   "",
		"mon/\xff":                 "",
		"ctrl":                     "",
		"ctrl/diagnostics":         "",
		"/mrs/d/12/ctrl/light":     "",
		strings.Repeat("a/", 1000): "",
	} {
		got, err := Topic(base, topic)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Topic(%q) = %q, %v, want %q", topic, got, err, want)
		}
	}
	if got, err := Topic("", "mon/door"); err == nil {
		t.Errorf("without a base: %q", got)
	}
}

func TestFilterStaysUnderTheBase(t *testing.T) {
	const base = "mrs/d/12"
	for filter, want := range map[string]string{
		"#":                "mrs/d/12/#",
		"ctrl/+/left":      "mrs/d/12/ctrl/+/left",
		"/mrs/d/12/ctrl/#": "mrs/d/12/ctrl/#",
		"/#":               "",
		"/mrs/d/+/ctrl/#":  "",
		"/+/d/12/ctrl/#":   "",
		"ctrl/a#":          "",
		"ctrl/#/a":         "",
		"ctrl/a+":          "",
		"":                 "",
	} {
		got, err := Filter(base, filter)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Filter(%q) = %q, %v, want %q", filter, got, err, want)
		}
	}
}

func TestMatchesAndMeet(t *testing.T) {
	for _, tt := range []struct {
		a, b          string
		matches, meet bool
	}{
		{"a/b", "a/b", true, true},
		{"a/+", "a/b", true, true},
		{"a/#", "a/b/c", true, true},
		{"a/#", "a", true, true},
		{"#", "a", true, true},
		{"a/+", "a", false, false},
		{"a/+", "a/b/c", false, false},
		{"+/b", "a/c", false, false},
		{"a/b/#", "a/c", false, false},
		{"+", "$SYS", false, true},
		{"#", "$SYS/broker", false, true},
		{"$SYS/#", "$SYS/broker", true, true},
		{"", "a", false, false},
	} {
		if got := Matches(tt.a, tt.b); got != tt.matches {
			t.Errorf("Matches(%q, %q) = %v", tt.a, tt.b, got)
		}
		if got, back := Meet(tt.a, tt.b), Meet(tt.b, tt.a); got != tt.meet || back != tt.meet {
			t.Errorf("Meet(%q, %q) = %v, the other way round %v", tt.a, tt.b, got, back)
		}
	}
	for _, tt := range []struct {
		a, b string
		meet bool
	}{{"a/+/c", "+/b/+", true}, {"a/+/c", "a/b/d", false}, {"a/#", "+/b", true}, {"a/b", "a/b/#", true}, {"a/b", "a/b/+", false}} {
		if got, back := Meet(tt.a, tt.b), Meet(tt.b, tt.a); got != tt.meet || back != tt.meet {
			t.Errorf("Meet(%q, %q) = %v, the other way round %v", tt.a, tt.b, got, back)
		}
	}
}

func FuzzTopic(f *testing.F) {
	for _, s := range []string{"mon/door", "/mrs/d/12/mon/x", "/mrs/d/13/x", "$SYS/#", "ctrl/x", "//", "\x00", "a/../../b", "#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const base = "mrs/d/12"
		if topic, err := Topic(base, text); err == nil {
			if !Matches(base+"/#", topic) || Matches(base+"/ctrl/#", topic) || strings.ContainsAny(topic, "+#\x00") || topic == base {
				t.Fatalf("Topic(%q) = %q", text, topic)
			}
			if again, err := Topic(base, Short(base, topic)); err != nil || again != topic {
				t.Fatalf("Short(%q) = %q, which is %q, %v", topic, Short(base, topic), again, err)
			}
		}
		if filter, err := Filter(base, text); err == nil {
			if !strings.HasPrefix(filter, base+"/") || strings.Contains(filter, "\x00") {
				t.Fatalf("Filter(%q) = %q", text, filter)
			}
			if Meet(filter, "mrs/d/13/#") || Meet(filter, "$SYS/#") {
				t.Fatalf("Filter(%q) = %q reaches elsewhere", text, filter)
			}
		}
	})
}
