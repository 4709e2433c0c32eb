package profile

import (
	"net/http"
	"time"
)

var bearer = Send{Header: "Authorization", Prefix: "Bearer "}

func post(path string, e Encoding, fields ...Field) Call {
	return Call{Method: http.MethodPost, Path: path, Encoding: e, Fields: fields}
}

func get(path string) Call { return Call{Method: http.MethodGet, Path: path, Bearer: true} }

// value is a field that is called as its value is.
func value(name string) Field { return Field{Name: name, Value: "$" + name} }

func text(name, v string) Field { return Field{Name: name, Value: v} }

func optional(f Field) Field {
	f.Optional = true
	return f
}

func bearing(c Call) Call {
	c.Bearer = true
	return c
}

// resetHeader is read of every cloud: those whose pages name no limit may have
// a gateway before them that sets one.
const resetHeader = "X-Ratelimit-Reset"

const day = 24 * time.Hour

var passwordGrant = post("/oauth/token", Form, text("grant_type", "password"), value(Username), value(Password), optional(value(ClientID)), optional(value(ClientSecret)), optional(value(Scope)))

// table has every profile. Each entry's sources are the vendor's pages of the
// same name; docs/accounts.md tells what they leave open.
var table = []Profile{
	{ // docs.spoke.zone, "Access Tokens" and "Device Token Renewal"
		Name: "spoke-zone", URL: "https://api.spoke.zone", Kind: Exchange,
		Refresh: post("/loginDevice", JSON, value(Token), value(CPUID), value(UUID)),
		Token:   "token", Expiry: []Source{JWTExp},
		Before: 12 * time.Hour, Grace: 12 * time.Hour,
		Send: Send{Header: "X-Access-Token"}, Denied: Renew,
		Limits:  Limits{Reset: resetHeader},
		Durable: []string{Token},
	},
	{ // the same cloud's tokens for people
		Name: "spoke-zone-user", URL: "https://api.spoke.zone", Kind: Relogin,
		Login: post("/login", JSON, value(Username), value(Password)),
		Token: "token", Expiry: []Source{JWTExp},
		Send: Send{Header: "X-Access-Token"}, Denied: Renew,
		Limits:  Limits{Reset: resetHeader},
		Durable: []string{Password},
	},
	{ // developer.beacontower.ai, "Authentication"
		Name: "beacon-tower", URL: "https://api.beacontower.ai", Kind: Relogin,
		Login: post("/auth/ropc", JSON, value(Username), value(Password)),
		Token: "accessToken", Expiry: []Source{JWTExp},
		Send: bearer, Key: Send{Header: "X-Api-Key"}, Denied: Renew,
		Limits:  Limits{Reset: resetHeader},
		Durable: []string{Password},
	},
	{ // docs.bace-iot.com, "Authentication"
		Name: "bace", URL: "https://dashboard.bace-iot.com", Kind: Extend,
		Login:   post("/oauth2/token", Multipart, value(ClientID), value(ClientSecret), text("grant_type", "password"), value(Username), value(Password)),
		Refresh: bearing(post("/oauth2/token", Multipart, value(RefreshToken), value(ClientSecret), value(ClientID), text("grant_type", "refresh_token"))),
		Probe:   Call{Method: http.MethodHead, Path: "/api/v2/group", Bearer: true},
		Token:   "access_token", Renewer: "refresh_token", Done: "refreshed",
		Expiry: []Source{ExpiresIn, Absolute}, Layout: time.DateTime, Refreshed: 14 * day,
		Send: bearer, Denied: Ask,
		Limits:  Limits{Reset: resetHeader},
		Durable: []string{Password, ClientSecret},
	},
	{ // placeosdocs.netlify.app, "Bearer tokens"
		Name: "placeos", Kind: Rotate,
		Login:   post("/auth/oauth/token", Form, text("grant_type", "password"), value(Username), value(Password), value(ClientID), optional(value(ClientSecret)), optional(value(Scope))),
		Code:    post("/auth/oauth/token", Form, text("grant_type", "authorization_code"), value(Code), value(ClientID), optional(value(ClientSecret)), value(RedirectURI), optional(value(Verifier))),
		Refresh: post("/auth/oauth/token", Form, text("grant_type", "refresh_token"), value(RefreshToken), value(ClientID), optional(value(ClientSecret))),
		Probe:   get("/api/engine/v2/api_keys/inspect"), Retire: get("/auth/authority"),
		Authorize: "/auth/oauth/authorize", Cookie: "user",
		Token: "access_token", Renewer: "refresh_token",
		Expiry: []Source{CreatedAt, ExpiresIn, JWTExp},
		Send:   Send{Header: "Authorization", Prefix: "Bearer ", Parameter: "bearer_token", Cookie: "bearer_token"},
		Key:    Send{Header: "X-Api-Key", Parameter: "api-key", Cookie: "api-key"},
		Denied: Renew, Ended: []string{"logged out"},
		Limits:  Limits{Reset: resetHeader},
		Durable: []string{RefreshToken, Password, ClientSecret},
	},
	{ // api-docs-314159.beamery.engineer, "Authentication"
		Name: "beamery", URL: "https://frontier.beamery.com", Kind: Relogin,
		Login: post("/v1/oauth/token", JSON, text("clientId", "$"+ClientID), text("clientSecret", "$"+ClientSecret)),
		Probe: get("/v1/oauth/token/permissions"),
		Token: "access_token", Expiry: []Source{ExpiresIn, JWTExp},
		Send: bearer, Denied: Ask,
		Limits:  Limits{Remaining: "X-Ratelimit-Remaining", Reset: resetHeader, Spent: true},
		Durable: []string{ClientSecret},
	},
	{ // RFC 6749: client credentials, or the resource owner's password where one is set
		Name: "oauth2", Kind: Rotate,
		Login:   post("/oauth/token", Form, text("grant_type", "client_credentials"), value(ClientID), value(ClientSecret), optional(value(Scope))),
		Refresh: post("/oauth/token", Form, text("grant_type", "refresh_token"), value(RefreshToken), value(ClientID), optional(value(ClientSecret))),
		Token:   "access_token", Renewer: "refresh_token",
		Expiry: []Source{ExpiresIn, JWTExp},
		Send:   bearer, Denied: Renew,
		Limits:  Limits{Reset: resetHeader},
		Durable: []string{RefreshToken, ClientSecret, Password},
	},
}
