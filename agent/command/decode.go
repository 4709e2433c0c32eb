package command

import (
	"bytes"
	"encoding/json"
)

// maxLayers is how often a dashboard may have turned a value into a string of
// JSON before sending it: its own widgets do it once, others twice.
const maxLayers = 2

// Decode returns the JSON value in payload, unwrapped of at most two strings
// that hold JSON themselves. A payload that is no JSON, and a string that holds
// none, is returned as it came.
func Decode(payload []byte) []byte {
	value := payload
	for range maxLayers {
		inner, ok := unwrap(value)
		if !ok {
			break
		}
		value = inner
	}
	return value
}

// unwrap is the JSON value that stands in the string value.
func unwrap(value []byte) (inner []byte, ok bool) {
	value = bytes.TrimSpace(value)
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	var s string
	if json.Unmarshal(value, &s) != nil || !json.Valid([]byte(s)) {
		return nil, false
	}
	return []byte(s), true
}
