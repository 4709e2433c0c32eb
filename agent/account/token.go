// Package account keeps the device's access token valid.
package account

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrNotJWT means that a string has not the shape of a JSON Web Token (RFC
// 7519) and cannot be what the cloud issued.
var ErrNotJWT = errors.New("not a JSON Web Token")

// maxToken bounds what is taken for a token: it must fit an MQTT user name.
const maxToken = 65535

// A Token is an access token and what it says of itself. The zero Token is
// none. It prints as its last characters and its times, never whole.
type Token struct {
	raw     string
	renewer string // the refresh token that came with it; "" if none
	Claims
}

// Claims are the parts of a token that a device reads. It cannot check the
// signature and has no need to: the server is the judge.
type Claims struct {
	Issued   time.Time // iat; zero if absent or absurd
	Expires  time.Time // exp; zero if absent or absurd
	DeviceID string    // digits; "" if no known claim holds it
	Prefix   string    // the MQTT publishing prefix; "" if no known claim holds it
}

// Names says in which claims the cloud puts what no page documents.
type Names struct{ DeviceID, Prefix []string }

// DefaultNames are the claims that are tried, in this order, where the settings
// name none.
var DefaultNames = Names{
	DeviceID: []string{"deviceId", "device_id", "id", "sub"},
	Prefix:   []string{"prefix", "mqttPrefix", "mqtt_prefix", "publishPrefix", "publish_prefix", "customer_prefix"},
}

// ParseToken reads raw. A token without claims that we know, or with absurd
// ones, is a token still; only what has not the shape of a JWT is ErrNotJWT.
func ParseToken(raw string, names Names) (Token, error) {
	if len(raw) > maxToken {
		return Token{}, fmt.Errorf("%w: %d bytes are too long", ErrNotJWT, len(raw))
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" {
		return Token{}, fmt.Errorf("%w: it has not three parts", ErrNotJWT)
	}
	if i := strings.IndexFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return Token{}, fmt.Errorf("%w: a character at %d does not belong there", ErrNotJWT, i)
	}
	t := Token{raw: raw}
	if body, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "=")); err == nil {
		t.Claims = readClaims(body, names)
	}
	return t, nil
}

func readClaims(body []byte, names Names) (c Claims) {
	claims := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if dec.Decode(&claims) != nil {
		return c
	}
	c.Issued, c.Expires = numericDate(claims["iat"]), numericDate(claims["exp"])
	for _, name := range names.DeviceID {
		if c.DeviceID = deviceID(claims[name]); c.DeviceID != "" {
			break
		}
	}
	c.Prefix = prefix(claims, names.Prefix, c.DeviceID)
	return c
}

// numericDate reads RFC 7519's NumericDate: seconds, possibly with a fraction.
// Anything outside 1970 to 2242 is no date.
func numericDate(v any) time.Time {
	n, _ := v.(json.Number)
	f, err := n.Float64()
	if err != nil || !(f > 0 && f < 1<<33) {
		return time.Time{}
	}
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(frac*1e9)).UTC()
}

// deviceID accepts a positive integer, as a number or in a string.
func deviceID(v any) string {
	s, ok := v.(string)
	if n, isNumber := v.(json.Number); isNumber {
		s, ok = n.String(), true
	}
	if n, err := strconv.ParseUint(s, 10, 63); !ok || err != nil || n == 0 {
		return ""
	}
	return s
}

// prefix finds the MQTT publishing prefix: the first known claim with a usable
// string, or any claim that looks like ROOT/d/ID.
func prefix(claims map[string]any, names []string, id string) string {
	for _, name := range names {
		if s, _ := claims[name].(string); topicPrefix(s) {
			return strings.TrimRight(s, "/")
		}
	}
	best := ""
	for _, v := range claims { // the least, so that the choice does not depend on the map's order
		s, _ := v.(string)
		root, rest, ok := strings.Cut(s, "/d/")
		if ok && id != "" && topicPrefix(s) && !strings.Contains(root, "/") && (rest == id || strings.HasPrefix(rest, id+"/")) && (best == "" || s < best) {
			best = s
		}
	}
	return strings.TrimRight(best, "/")
}

func topicPrefix(s string) bool {
	return s != "" && len(s) < 1024 && strings.Trim(s, "/") != "" && !strings.ContainsAny(s, "#+\x00") && !strings.HasPrefix(s, "$")
}

// Raw is the token itself, for the one place that must present it.
func (t Token) Raw() string { return t.raw }

// IsZero reports whether t is none.
func (t Token) IsZero() bool { return t.raw == "" }

// Same reports whether t and u are the same token.
func (t Token) Same(u Token) bool { return t.raw == u.raw }

// Tail is the last six characters, by which a person can tell tokens apart.
func (t Token) Tail() string { return t.raw[max(0, len(t.raw)-6):] }

// Hash is the SHA-256 of the token in hexadecimal digits, by which a program
// names it without holding it; "" for none.
func (t Token) Hash() string {
	if t.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte(t.raw))
	return hex.EncodeToString(sum[:])
}

// Draw is a number in [0,1) that differs from token to token and from device to
// device and stays the same for one token: the place of its renewal within the
// spread, drawn once and never lost, because it is computed and not stored.
func (t Token) Draw() float64 {
	sum := sha256.Sum256([]byte(t.raw))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}

// digest names a token in a file or a comparison without holding it.
func (t Token) digest() string {
	if t.raw == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(t.raw))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TopicBase is the root of the device's MQTT topics, ROOT/d/ID: the token's
// prefix, completed where it names only the first segment, or fallback.
func (c Claims) TopicBase(fallback string) string {
	switch p := strings.TrimSuffix(c.Prefix, "/mon"); {
	case p == "":
		return fallback
	case strings.Contains(p, "/") || c.DeviceID == "":
		return p
	default:
		return p + "/d/" + c.DeviceID
	}
}

// String, GoString, Format, LogValue and MarshalJSON keep the secret out of
// print.
func (t Token) String() string {
	if t.IsZero() {
		return "no token"
	}
	return "token …" + t.Tail()
}

// GoString is String.
func (t Token) GoString() string { return t.String() }

// Format is String for every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// LogValue names the token by its tail and its times.
func (t Token) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("tail", t.Tail())}
	if !t.Issued.IsZero() {
		attrs = append(attrs, slog.Time("issued", t.Issued))
	}
	if !t.Expires.IsZero() {
		attrs = append(attrs, slog.Time("expires", t.Expires))
	}
	return slog.GroupValue(attrs...)
}

// MarshalJSON is String in JSON.
func (t Token) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }
