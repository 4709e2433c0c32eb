package redact

import (
	"slices"
	"strings"
)

// Bounds of what Keys hide.
const (
	maxLines   = 120 // of a key of which one end does not come: no more than the largest keys have
	maxOther   = 3   // lines in a row that are none of a key, after which it is taken to have ended
	maxSources = 32  // that are within a key at once
)

// Keys are the sources of lines that are within a private key in PEM: the
// journal has an entry for each line that a program prints, and of a key only
// the first and the last one say what they are. Nil is none. A value is never
// changed, and can be kept with the place that was read up to.
type Keys []Key

// A Key is a private key of which a source has not yet said the end.
type Key struct {
	Source string `json:"source"`
	Left   int    `json:"left"`  // lines that are hidden at most
	Other  int    `json:"other"` // the newest lines that look like none of a key
}

// Hide is text, the next of a source, without what is of a private key, and
// what has to be known for the text after it. A key whose end does not come
// hides 120 lines of its source, or fewer where they look like other ones.
func (k Keys) Hide(source, text string) (string, Keys) {
	of := func(one Key) bool { return one.Source == source }
	i := slices.IndexFunc(k, of)
	if i < 0 && !strings.Contains(text, sign) {
		return text, k
	}
	now := Key{Source: source}
	if i >= 0 {
		now = k[i]
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		now.hide(&out, line)
	}
	next := slices.DeleteFunc(slices.Clone(k), of)
	if now.Left > 0 {
		next = append(next, now)
	}
	return out.String(), next[max(0, len(next)-maxSources):]
}

var (
	begins = newRule(begin, "")
	ends   = newRule(end, "")
	// base64 is what most lines of a key have, and few others.
	base64Run = newRule(`[A-Za-z0-9+/]{20}`, "")
)

// hide writes a line without what is of the key.
func (k *Key) hide(out *strings.Builder, line string) {
	body, newline := strings.CutSuffix(line, "\n")
	within := k.Left > 0
	if within {
		out.WriteString(Mark)
		k.Left--
		if k.Other++; base64Run.find().MatchString(body) {
			k.Other = 0
		}
		if k.Other == maxOther {
			k.Left = 0
		}
	}
	for within || strings.Contains(body, sign) {
		if !within {
			at := begins.find().FindStringIndex(body)
			if at == nil {
				break
			}
			out.WriteString(body[:at[0]] + Mark)
			body, k.Left, k.Other = body[at[1]:], maxLines, 0
		}
		at := ends.find().FindStringIndex(body)
		if at == nil {
			if begins.find().MatchString(body) { // another one
				k.Left, k.Other = maxLines, 0
			}
			body = ""
			break
		}
		body, k.Left, within = body[at[1]:], 0, false
	}
	out.WriteString(body)
	if newline {
		out.WriteByte('\n')
	}
}
