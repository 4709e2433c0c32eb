package cloudtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A Device is a gateway as its owner created it.
type Device struct {
	ID         int    `json:"id"` // positive; the next free one if zero
	CPUID      string `json:"cpu_id"`
	UUID       string `json:"uuid"`
	Identifier string `json:"identifier"`
	// Base is what its topics begin with, without a slash at the end;
	// mrs/d/ID if empty.
	Base string `json:"base"`
	// Further bases that the broker lets it use, such as mon/d/ID.
	Further []string `json:"further,omitempty"`
	// Modules are the keys of its model's modules. None means any.
	Modules []string `json:"modules,omitempty"`
	Shape   Shape    `json:"-"` // of its tokens
}

// A Shape is how a token's claims look. The vendor says that a token holds the
// device's id and its MQTT publishing prefix, but not under which names.
type Shape struct {
	IDClaim     string         // deviceId if empty; "-" for none
	IDString    bool           // the id as a string
	PrefixClaim string         // prefix if empty; "-" for none
	Prefix      string         // the claim's value; the device's base if empty
	NoIssuedAt  bool           // leave iat out
	Expiry      string         // number (the default), float, or none
	Extra       map[string]any // further claims
}

// issued is what the Cloud remembers of a token. The server, not the claims,
// decides when it expires: a Shape may leave exp out.
type issued struct {
	device  int
	user    *User     // whose token it is, if it is no device's
	at      time.Time // when it was issued
	expires time.Time
	revoked bool
}

type device struct {
	Device
	lastOnline time.Time
	lat, lon   *float64
	versions   map[string]string
	inUse      string // the token that was accepted last
	newest     string // the token that was issued last
}

// AddDevice creates a device, fills in what d leaves empty, and returns it.
func (c *Cloud) AddDevice(d Device) Device {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.ID <= 0 {
		for d.ID = 123; c.devices[d.ID] != nil; d.ID++ {
		}
	}
	orDefault(&d.CPUID, fmt.Sprintf("%016x", 0xc0ffee000000+d.ID))
	orDefault(&d.UUID, fmt.Sprintf("6b1d2c3e-0000-4000-8000-%012d", d.ID))
	orDefault(&d.Identifier, fmt.Sprintf("d-%d", d.ID))
	orDefault(&d.Base, fmt.Sprintf("mrs/d/%d", d.ID))
	c.devices[d.ID] = &device{Device: d}
	return d
}

// Devices returns every device, by id.
func (c *Cloud) Devices() []Device {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Device
	for _, id := range slices.Sorted(maps.Keys(c.devices)) {
		all = append(all, c.devices[id].Device)
	}
	return all
}

// Issue gives a device a token that expires life from now; a negative life
// gives one that has expired. Zero is the life in force. An unknown device is
// a mistake of the caller and panics.
func (c *Cloud) Issue(id int, life time.Duration) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[id]
	if d == nil {
		panic(fmt.Sprintf("cloudtest: Issue: no device %d", id))
	}
	return c.issue(d, cmp.Or(life, c.opt.TokenLife))
}

func (c *Cloud) issue(d *device, life time.Duration) string {
	c.serial++
	now := c.now()
	expires := now.Add(life).Truncate(time.Second)
	claims := d.claims(now, expires)
	claims["jti"] = strconv.Itoa(c.serial) // two tokens of one second must differ
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(c.key)
	if err != nil {
		panic(fmt.Sprintf("cloudtest: sign token: %v", err)) // an Extra claim that is no JSON
	}
	c.tokens[token] = &issued{device: d.ID, at: now, expires: expires}
	d.newest = token
	return token
}

func (d *device) claims(now, expires time.Time) jwt.MapClaims {
	s := d.Shape
	claims := jwt.MapClaims{}
	maps.Copy(claims, s.Extra)
	if name := cmp.Or(s.IDClaim, "deviceId"); name != "-" {
		claims[name] = d.ID
		if s.IDString {
			claims[name] = strconv.Itoa(d.ID)
		}
	}
	if name := cmp.Or(s.PrefixClaim, "prefix"); name != "-" {
		claims[name] = cmp.Or(s.Prefix, d.Base)
	}
	if !s.NoIssuedAt {
		claims["iat"] = now.Unix()
	}
	switch s.Expiry {
	case "float":
		claims["exp"] = json.Number(fmt.Sprintf("%d.250", expires.Unix()))
	case "none":
	default:
		claims["exp"] = expires.Unix()
	}
	return claims
}

// Revoke makes the Cloud refuse a token from now on.
func (c *Cloud) Revoke(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tokens[token]; t != nil {
		t.revoked = true
	}
}

// Expires returns when a token that the Cloud issued expires; zero for others.
func (c *Cloud) Expires(token string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tokens[token]; t != nil {
		return t.expires
	}
	return time.Time{}
}

// known returns the device and the record of a token with a good signature,
// expired or not; nil for any other.
func (c *Cloud) known(token string) (*device, *issued) {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithoutClaimsValidation())
	if _, err := parser.Parse(token, func(*jwt.Token) (any, error) { return c.key, nil }); err != nil {
		return nil, nil
	}
	t := c.tokens[token]
	if t == nil || t.revoked {
		return nil, nil
	}
	return c.devices[t.device], t
}

// admit returns the device of a token that may be used now; else nil and why.
func (c *Cloud) admit(token string) (*device, *issued, string) {
	d, t := c.known(token)
	switch {
	case token == "":
		return nil, nil, "no token"
	case d == nil:
		return nil, nil, "invalid token"
	case !c.now().Before(t.expires):
		return nil, nil, "expired token"
	}
	d.inUse = token
	return d, t, ""
}
