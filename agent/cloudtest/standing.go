package cloudtest

import (
	"maps"
	"strings"
	"time"
	"unicode/utf8"
)

// A Standing is what the Cloud knows of a device at one moment, for a page
// that shows it.
type Standing struct {
	Online     int               `json:"online"` // MQTT connections
	LastOnline time.Time         `json:"last_online"`
	Versions   map[string]string `json:"versions"`
	Lat        *float64          `json:"lat,omitempty"`
	Lon        *float64          `json:"lon,omitempty"`
	InUse      *TokenLife        `json:"in_use,omitempty"` // the token that was accepted last
	Newest     *TokenLife        `json:"newest,omitempty"` // the token that was issued last
}

// A TokenLife is how long a token lives, without the token.
type TokenLife struct {
	Tail    string    `json:"tail"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Revoked bool      `json:"revoked,omitempty"`
}

// Standing returns how a device stands, and whether there is one of that id.
func (c *Cloud) Standing(id int) (Standing, bool) {
	online := c.Online(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[id]
	if d == nil {
		return Standing{}, false
	}
	return Standing{
		Online: online, LastOnline: d.lastOnline, Versions: maps.Clone(d.versions), Lat: d.lat, Lon: d.lon,
		InUse: c.life(d.inUse), Newest: c.life(d.newest),
	}, true
}

// InUse returns the token of a device that was accepted last, else the one
// that was issued last; empty when there is none.
func (c *Cloud) InUse(id int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch d := c.devices[id]; {
	case d == nil:
		return ""
	case d.inUse != "":
		return d.inUse
	default:
		return d.newest
	}
}

// life describes a token. The caller holds c.mu.
func (c *Cloud) life(token string) *TokenLife {
	t := c.tokens[token]
	if t == nil {
		return nil
	}
	return &TokenLife{Tail: tail(token), Issued: t.at, Expires: t.expires, Revoked: t.revoked}
}

// A Transfer is an OTA file on its way to a device.
type Transfer struct {
	ID     int   `json:"id"`
	Device int   `json:"device"` // 0 from the other host, which sees no token
	Offset int64 `json:"offset"`
	Sent   int64 `json:"sent"`
}

// Transfers returns what is being sent now, in no order.
func (c *Cloud) Transfers() []Transfer {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := []Transfer{}
	for b := range c.sending {
		all = append(all, Transfer{ID: b.id, Device: b.device, Offset: b.offset.Load(), Sent: b.sent.Load()})
	}
	return all
}

// track keeps b among the transfers until the function that it returns.
func (c *Cloud) track(b *body) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sending[b] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.sending, b)
	}
}

// maxText bounds how much of a message an Event shows.
const maxText = 1 << 10

// preview is the beginning of a payload that is text, for people; empty for
// one that is none.
func preview(payload []byte) string {
	text := string(payload[:min(len(payload), maxText)])
	for i := 1; i < utf8.UTFMax && len(text) == maxText+1-i && !utf8.ValidString(text); i++ {
		text = text[:len(text)-1] // a character of which the end was cut off
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return ""
	}
	return text
}
