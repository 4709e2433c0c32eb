// Package profile describes how clouds give tokens, as data: which calls they
// have, where a token and its expiry stand in an answer, how a token is sent,
// and what a refusal means. It makes no call and reads no clock.
package profile

import (
	"slices"
	"strings"
	"time"
)

// A Profile is one kind of cloud.
type Profile struct {
	Name string
	URL  string // where its calls begin; empty: each tenant has an own one
	Kind Kind

	Login   Call // a token for the secrets of the account
	Code    Call // a token for an authorization code (RFC 6749, section 4.1.3)
	Refresh Call // the next token for the one in force
	Probe   Call // is refused where the token is; nothing more
	Retire  Call // tells the cloud that the new token is kept, so that it may drop the one before

	Authorize string // path of the authorization endpoint (RFC 6749, section 3.1); empty: there is none
	Cookie    string // the session cookie that the endpoint takes

	Token     string // member of an answer that holds the token
	Renewer   string // member that holds the refresh token; empty: there is none
	Done      string // member of a refresh's answer that is true if it was done; empty: there is none
	Expiry    []Source
	Layout    string        // of the Absolute source
	Refreshed time.Duration // what a refresh is documented to give, for the Absolute source
	Fixed     time.Duration // of the Fixed source

	Before, Grace time.Duration // Exchange alone: how long before and after the expiry the cloud renews

	Send    Send // how requests carry the token
	Key     Send // how they carry an API key; empty: there are none
	Denied  Denied
	Ended   []string // texts of a 401 that say that the session was ended, and refreshing is in vain
	Limits  Limits
	Durable []string // the secrets that must stay on the device
}

// A Kind is what renewing a token is.
type Kind string

// The kinds.
const (
	Exchange Kind = "exchange-expired" // an old token, even an expired one, buys the next
	Relogin  Kind = "relogin"          // the secrets buy a new token
	Rotate   Kind = "rotate"           // a refresh token buys the next pair
	Extend   Kind = "extend-in-place"  // the same token lives longer
)

// An Encoding is how a request carries its fields.
type Encoding string

// The encodings.
const (
	NoBody    Encoding = ""
	JSON      Encoding = "json"
	Form      Encoding = "urlencoded"
	Multipart Encoding = "multipart" // multipart/form-data (RFC 7578)
)

// A Call is one request. The zero Call is none.
type Call struct {
	Method   string
	Path     string // below the account's URL
	Encoding Encoding
	Fields   []Field
	Bearer   bool // carries the token in force
}

// IsZero reports whether there is no such call.
func (c Call) IsZero() bool { return c.Method == "" }

// A Field is a name and its value: a text, or $NAME for one of Values.
type Field struct {
	Name, Value string
	Optional    bool // left out where the value is empty
}

// Names of Values.
const (
	Username     = "username"
	Password     = "password"
	ClientID     = "client_id"
	ClientSecret = "client_secret"
	Scope        = "scope"
	RefreshToken = "refresh_token"
	Token        = "token"
	CPUID        = "cpu_id"
	UUID         = "uuid"
	Code         = "code"
	RedirectURI  = "redirect_uri"
	Verifier     = "code_verifier"
)

// Values are what the fields of a call are filled with.
type Values map[string]string

// A Source is where the end of a token's life is learnt from.
type Source string

// The sources.
const (
	ExpiresIn Source = "expires_in"            // seconds from the answer on
	CreatedAt Source = "created_at+expires_in" // seconds from a date of the cloud's own clock
	Absolute  Source = "absolute"              // a date without a zone
	JWTExp    Source = "jwt exp"               // the token's claim (RFC 7519, section 4.1.4)
	Fixed     Source = "fixed"                 // the profile's
	None      Source = ""                      // nothing tells: a 401 does
)

// Denied is what a 401 means.
type Denied string

// The meanings.
const (
	Renew Denied = "renew" // the token is dead
	Ask   Denied = "probe" // it is, or it lacks a permission: the probe tells
)

// Limits are the headers in which a cloud tells how much may be asked.
type Limits struct {
	Remaining, Reset string // names; empty: it has none
	Spent            bool   // an answer with less than 1 remaining closes the window as a 429 does
}

// ByName returns a profile; ok is false if there is none of that name. The
// caller may change it.
func ByName(name string) (p Profile, ok bool) {
	i := slices.IndexFunc(table, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, false
	}
	return table[i], true
}

// ForAccounts names the profiles that an account of accounts.d may have, for a
// sentence.
func ForAccounts() string {
	var names []string
	for _, p := range table {
		if p.Kind != Exchange { // the device's own, which begins with a token
			names = append(names, p.Name)
		}
	}
	return strings.Join(names, ", ")
}

// With is p with what an account's settings change: the path of the token call,
// the path of the probe, and, for a user of the oauth2 profile, the resource
// owner's password in the place of client credentials (RFC 6749, section 4.3).
func (p Profile) With(tokenPath, probePath string, user bool) Profile {
	if p.Name == "oauth2" && user {
		p.Login = passwordGrant
	}
	if tokenPath != "" {
		p.Login.Path, p.Refresh.Path = tokenPath, tokenPath
	}
	if probePath != "" {
		p.Probe = get(probePath)
	}
	return p
}

// Uses reports whether a field of c holds the value called name.
func (c Call) Uses(name string) bool {
	return slices.ContainsFunc(c.Fields, func(f Field) bool { return f.Value == "$"+name })
}

// CanLogin reports whether the secrets in v suffice for the login call.
func (p Profile) CanLogin(v Values) bool { return !p.Login.IsZero() && len(p.Login.Missing(v)) == 0 }

// Missing are the names of the values that c needs and v has not.
func (c Call) Missing(v Values) (names []string) {
	for _, f := range c.Fields {
		if name, ok := strings.CutPrefix(f.Value, "$"); ok && !f.Optional && v[name] == "" {
			names = append(names, name)
		}
	}
	return names
}
