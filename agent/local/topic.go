package local

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTopic is the most bytes of a topic or a filter that a local program uses.
const maxTopic = 1024

// commandLevel begins the topics by which the cloud commands the device.
const commandLevel = "ctrl"

// Topic returns the topic in full that a local program publishes to: under the
// topic base unless it begins with a slash, and then in full behind that slash.
// Either way it lies under the base, and is none of the cloud's commands.
func Topic(base, topic string) (string, error) {
	rest, err := below(base, topic)
	switch {
	case err != nil:
		return "", fmt.Errorf("topic %q: %w", shorten(topic), err)
	case strings.ContainsAny(rest, "+#"):
		return "", fmt.Errorf("topic %q: it has a wildcard", shorten(topic))
	case rest == commandLevel || strings.HasPrefix(rest, commandLevel+"/"):
		return "", fmt.Errorf("topic %q: what begins with %s/ is the cloud's to send", shorten(topic), commandLevel)
	}
	return base + "/" + rest, nil
}

// Filter returns the filter in full that a local program subscribes to, under
// the topic base as a Topic is.
func Filter(base, filter string) (string, error) {
	rest, err := below(base, filter)
	if err != nil {
		return "", fmt.Errorf("filter %q: %w", shorten(filter), err)
	}
	levels := strings.Split(rest, "/")
	for i, l := range levels {
		if len(l) > 1 && strings.ContainsAny(l, "+#") || l == "#" && i < len(levels)-1 {
			return "", fmt.Errorf("filter %q: it has a wildcard in the wrong place", shorten(filter))
		}
	}
	return base + "/" + rest, nil
}

// Short is a topic as a local program writes it.
func Short(base, topic string) string {
	if rest, ok := strings.CutPrefix(topic, base+"/"); ok && base != "" {
		return rest
	}
	return "/" + topic
}

// below is what follows the base.
func below(base, text string) (string, error) {
	rest, inFull := strings.CutPrefix(text, "/")
	if inFull {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, base+"/"); !ok {
			return "", fmt.Errorf("it is not under %s", base)
		}
	}
	switch {
	case base == "":
		return "", errors.New("the topic base is not known yet")
	case rest == "":
		return "", errors.New("it is empty")
	case len(rest) > maxTopic:
		return "", fmt.Errorf("it has %d bytes (at most %d)", len(rest), maxTopic)
	case !utf8.ValidString(rest):
		return "", errors.New("it is not UTF-8")
	case strings.ContainsFunc(rest, unicode.IsControl):
		return "", errors.New("it has a control character")
	case strings.HasPrefix(rest, "/") || strings.HasSuffix(rest, "/") || strings.Contains(rest, "//"):
		return "", errors.New("it has an empty level")
	}
	return rest, nil
}

// Matches reports whether a message to topic is one for filter (MQTT 3.1.1,
// section 4.7).
func Matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		switch {
		case level == "#": // also behind the last level: a/# matches a
			return true
		case i >= len(t) || level != "+" && level != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}

// Meet reports whether a topic can match both filters.
func Meet(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := 0; ; i++ {
		switch {
		case i < len(x) && x[i] == "#" || i < len(y) && y[i] == "#": // also behind the last level of the other
			return true
		case i == len(x) || i == len(y):
			return len(x) == len(y)
		case x[i] != y[i] && x[i] != "+" && y[i] != "+":
			return false
		}
	}
}
