package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The service documents its types loosely: an id is a string on its pages and
// a number in its own SDK. What follows reads either.

// fields is a JSON object whose values are read one by one, so that a wrong one
// does not lose the others.
type fields map[string]json.RawMessage

// errShape is the cause of every answer that is not the JSON it should be.
var errShape = errors.New("answer not understood")

// decodeObject reads one JSON object.
func decodeObject(body []byte) (fields, error) {
	if looksHTML(body) {
		return nil, fmt.Errorf("%w: an HTML page instead of JSON", errShape)
	}
	var f fields
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", errShape, shapeOf(err, "an object"))
	}
	if f == nil {
		return nil, fmt.Errorf("%w: null instead of an object", errShape)
	}
	return f, nil
}

// shapeOf says in our words what encoding/json met instead of want.
func shapeOf(err error, want string) error {
	if te := (*json.UnmarshalTypeError)(nil); errors.As(err, &te) {
		return fmt.Errorf("%s instead of %s", te.Value, want)
	}
	return err
}

// null reports whether key is missing or null.
func (f fields) null(key string) bool {
	raw := bytes.TrimSpace(f[key])
	return len(raw) == 0 || string(raw) == "null"
}

// text returns the string at key; anything else is "".
func (f fields) text(key string) string {
	var s string
	if json.Unmarshal(f[key], &s) != nil {
		return ""
	}
	return s
}

// id returns the identifier at key: a string, or a whole number in digits.
func (f fields) id(key string) (string, error) {
	if f.null(key) {
		return "", fmt.Errorf("%s is missing", key)
	}
	raw := string(bytes.TrimSpace(f[key]))
	if _, err := strconv.ParseUint(raw, 10, 64); err == nil {
		return raw, nil
	}
	var s string
	if json.Unmarshal([]byte(raw), &s) != nil {
		return "", fmt.Errorf("%s is neither a string nor a whole number", key)
	}
	if err := checkID(s); err != nil {
		return "", fmt.Errorf("%s %w", key, err)
	}
	return s, nil
}

// maxID bounds identifiers, in bytes.
const maxID = 128

// checkID refuses what has no place in a path of the API.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("is empty")
	case len(id) > maxID:
		return fmt.Errorf("is longer than %d bytes", maxID)
	case strings.Trim(id, ".") == "", strings.ContainsAny(id, `/\`), !utf8.ValidString(id):
		return errors.New("is not an identifier")
	}
	for _, r := range id {
		if !unicode.IsPrint(r) {
			return errors.New("has control characters")
		}
	}
	return nil
}

// flag reads a boolean that may be 0, 1, "0", "1", "true" or "false".
func (f fields) flag(key string) (bool, error) {
	switch strings.Trim(string(bytes.TrimSpace(f[key])), `"`) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither true nor false", key)
}

// number returns the number at key, or nil.
func (f fields) number(key string) *float64 {
	var n *float64
	if json.Unmarshal(f[key], &n) != nil {
		return nil
	}
	return n
}

// time returns the date at key, or the zero time.
func (f fields) time(key string) time.Time {
	s := f.text(key)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
