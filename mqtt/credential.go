package mqtt

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// A Credential is what a Session presents at CONNECT, and the subscriptions
// that go with it. It never prints its user name or its password: with Spoke
// Zone the user name is the device's whole token.
type Credential struct {
	ClientID string
	Username string
	Password string
	Filters  []Filter // subscribed after each CONNACK
}

// A Filter is one subscription.
type Filter struct {
	Topic    string // may hold the wildcards + and #
	QoS      byte   // 0 or 1
	Optional bool   // whether the broker may refuse it without a word in the Status
}

const redacted = "<redacted>"

// String names the client and leaves out every secret.
func (c Credential) String() string {
	return fmt.Sprintf("{ClientID:%q Username:%s Password:%s Filters:%v}", c.ClientID, hide(c.Username), hide(c.Password), c.Filters)
}

// GoString is String, for %#v.
func (c Credential) GoString() string { return "mqtt.Credential" + c.String() }

// Format prints String whatever the verb: %d or %x would reach the fields.
func (c Credential) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		fmt.Fprint(f, c.GoString())
		return
	}
	fmt.Fprint(f, c.String())
}

// LogValue keeps the secrets out of slog's attributes.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON keeps the secrets out of JSON.
func (c Credential) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ClientID, Username, Password string
		Filters                      []Filter
	}{c.ClientID, hide(c.Username), hide(c.Password), c.Filters})
}

// hide shows whether there is a secret, and nothing else of it.
func hide(secret string) string {
	if secret == "" {
		return ""
	}
	return redacted
}

// check finds what CONNECT cannot carry (MQTT 3.1.1, sections 1.5.3 and 3.1.3).
// The library would cut a longer field in silence and so send another one.
func (c Credential) check(clean bool) error {
	switch {
	case c.ClientID == "" && !clean:
		return fmt.Errorf("%w: a persistent session needs a client id", errCredential)
	case len(c.Password) > maxField:
		return fmt.Errorf("%w: password has %d bytes (at most %d)", errCredential, len(c.Password), maxField)
	case c.Password != "" && c.Username == "":
		return fmt.Errorf("%w: password without a user name", errCredential)
	}
	if err := checkString(c.ClientID); err != nil {
		return fmt.Errorf("%w: client id %w", errCredential, err)
	}
	if err := checkString(c.Username); err != nil {
		return fmt.Errorf("%w: user name %w", errCredential, err)
	}
	return nil
}
