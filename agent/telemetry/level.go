package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The levels of diagnostics (docs.spoke.zone/reference/diagnostics).
const (
	LevelNormal    = "normal"     // nothing beside the usual
	LevelDebug     = "debug"      // diagnostics data files are recorded and uploaded
	LevelDebugOnly = "debug-only" // as debug, and MQTT carries broadcasts of diagnostics alone
)

// Bounds of what the cloud may ask for.
const (
	// LevelLasts is the longest time that a level and its broadcasts stay in
	// force. The cloud takes them back after at most as long; where that message
	// is lost the device does it.
	LevelLasts = 14 * 24 * time.Hour
	// MaxBroadcast is the longest interval of broadcasts.
	MaxBroadcast = 24 * time.Hour

	maxRequest = 4 << 10 // bytes
)

// A Level is what the cloud asks of diagnostics.
type Level struct {
	Level      string        // LevelNormal, LevelDebug or LevelDebugOnly
	Broadcast  time.Duration // between two broadcasts; 0: none
	DebugLevel string        // of the data files debug: error, warn, info, debug or trace
}

// normal is what holds where the cloud asks for nothing.
var normal = Level{Level: LevelNormal, DebugLevel: "info"}

// ParseLevel reads a message to ctrl/diagnostics: a JSON object with level,
// broadcast_interval in seconds, and debug_level. What is missing or null has
// its default, an unknown debug_level too; an unknown level is an error. An
// interval that is not supported becomes the closest one from least to
// MaxBroadcast, and nothing or less switches broadcasts off.
func ParseLevel(payload []byte, least time.Duration) (Level, error) {
	if len(payload) > maxRequest {
		return Level{}, fmt.Errorf("%d bytes (at most %d)", len(payload), maxRequest)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(payload), []byte("{")) {
		return Level{}, fmt.Errorf("%d bytes that are no JSON object", len(payload))
	}
	var request struct {
		Level      *string         `json:"level"`
		Broadcast  json.RawMessage `json:"broadcast_interval"`
		DebugLevel any             `json:"debug_level"`
	}
	if err := json.Unmarshal(payload, &request); err != nil {
		return Level{}, err
	}
	l := normal
	if request.Level != nil {
		l.Level = strings.ToLower(strings.TrimSpace(*request.Level))
	}
	if !slices.Contains([]string{LevelNormal, LevelDebug, LevelDebugOnly}, l.Level) {
		return Level{}, fmt.Errorf("level %.40q (%s, %s or %s)", l.Level, LevelNormal, LevelDebug, LevelDebugOnly)
	}
	seconds, err := parseSeconds(request.Broadcast)
	if err != nil {
		return Level{}, err
	}
	if seconds > 0 {
		longest := MaxBroadcast.Seconds()
		l.Broadcast = max(least, time.Duration(min(seconds, longest)*float64(time.Second)))
	}
	if s, ok := request.DebugLevel.(string); ok {
		l.DebugLevel = debugLevel(s)
	}
	return l, nil
}

// parseSeconds reads a number, or one in a string; missing and null are 0.
func parseSeconds(raw json.RawMessage) (float64, error) {
	text := strings.Trim(string(raw), `"`)
	if text == "" || text == "null" {
		return 0, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return 0, fmt.Errorf("broadcast_interval %.40q is no number of seconds", raw)
	}
	return seconds, nil
}

// debugLevel is s in the words that we use, info if it is none that we know.
func debugLevel(s string) string {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "error", "err", "fatal", "critical", "crit":
		return "error"
	case "warn", "warning":
		return "warn"
	case "debug", "verbose":
		return "debug"
	case "trace", "all":
		return "trace"
	}
	return "info"
}
