package mqtt

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxField is the most bytes that a string of MQTT can have: its length is sent
// in two bytes. The library cuts longer ones (CVE-2025-10543).
const maxField = 65535

// checkString reports what no string of MQTT may be (section 1.5.3).
func checkString(s string) error {
	switch {
	case len(s) > maxField:
		return fmt.Errorf("has %d bytes (at most %d)", len(s), maxField)
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	case strings.ContainsRune(s, 0):
		return errors.New("has a zero byte")
	}
	return nil
}

// maxLevels bounds a topic. Brokers end the connection that publishes to a deeper
// one: EMQX beyond 128 levels, Mosquitto beyond 202.
const maxLevels = 128

// checkText reports what no topic or filter may be: no string of MQTT, or one for
// whose control characters and non-characters of Unicode a receiver may end the
// connection (section 1.5.3), as Mosquitto does.
func checkText(s string) error {
	if err := checkString(s); err != nil {
		return err
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe }) {
		return errors.New("has a control character or one that is no character of Unicode")
	}
	return nil
}

// checkTopic reports why nothing can be published to topic (section 4.7).
func checkTopic(topic string) error {
	if topic == "" {
		return fmt.Errorf("%w: it is empty", ErrTopic)
	}
	if err := checkText(topic); err != nil {
		return fmt.Errorf("%w: %.40q %w", ErrTopic, topic, err)
	}
	if n := strings.Count(topic, "/") + 1; n > maxLevels {
		return fmt.Errorf("%w: %.40q has %d levels (at most %d)", ErrTopic, topic, n, maxLevels)
	}
	if strings.ContainsAny(topic, "+#") {
		return fmt.Errorf("%w: %.40q has a wildcard", ErrTopic, topic)
	}
	return nil
}

// check reports why the filter cannot be subscribed (section 4.7.1).
func (f Filter) check() error {
	if f.Topic == "" {
		return fmt.Errorf("%w: filter is empty", ErrTopic)
	}
	if err := checkText(f.Topic); err != nil {
		return fmt.Errorf("%w: filter %.40q %w", ErrTopic, f.Topic, err)
	}
	if f.QoS > 1 {
		return fmt.Errorf("%w: filter %.40q asks for QoS %d (0 or 1)", ErrQoS, f.Topic, f.QoS)
	}
	levels := strings.Split(f.Topic, "/")
	for i, level := range levels {
		alone := len(level) == 1
		last := i == len(levels)-1
		if strings.Contains(level, "+") && !alone || strings.Contains(level, "#") && (!alone || !last) {
			return fmt.Errorf("%w: filter %.40q has a wildcard out of place", ErrTopic, f.Topic)
		}
	}
	return nil
}
