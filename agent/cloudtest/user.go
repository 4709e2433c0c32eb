package cloudtest

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// DefaultUserLife is of a user's token. The vendor does not say.
const DefaultUserLife = 24 * time.Hour

// A User is an operator, who logs in with a password.
type User struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Super    bool   `json:"super,omitempty"`  // may read any device's secrets
	Locked   bool   `json:"locked,omitempty"` // gets 403 for the right password
}

// AddUser makes a user, or replaces the one of that name.
func (c *Cloud) AddUser(u User) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users[u.Username] = &u
}

// userLogin is POST /login.
func (c *Cloud) userLogin(w http.ResponseWriter, r *http.Request) {
	fields, ok := host.Object(r)
	c.mu.Lock()
	u := c.users[host.Text(fields, "username")]
	good := ok && u != nil && u.Password == host.Text(fields, "password")
	token, expires := "", time.Time{}
	if good && !u.Locked {
		token, expires = c.issueUser(u)
	}
	e := Event{Kind: EventUserLogin, Op: "user-login", Status: http.StatusOK, Token: tail(token)}
	switch {
	case !good:
		e.Status, e.Why = http.StatusUnauthorized, "Missing or wrong credentials."
	case u.Locked:
		e.Status, e.Why = http.StatusForbidden, "The account is locked."
	}
	c.note(e)
	c.mu.Unlock()
	if e.Why != "" {
		c.reply(w, r, e.Status, map[string]any{"status": "error", "message": e.Why})
		return
	}
	c.reply(w, r, http.StatusOK, map[string]any{
		"token": token, "expires": expires.Unix(),
		"user": map[string]any{"username": u.Username, "user_id": 7, "customer_id": 1, "reset_required": false, "mqtt_permission": 1},
	})
}

func (c *Cloud) issueUser(u *User) (token string, expires time.Time) {
	c.serial++
	now := c.now()
	expires = now.Add(DefaultUserLife).Truncate(time.Second)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"username": u.Username, "user_id": 7, "iat": now.Unix(), "exp": expires.Unix(), "jti": strconv.Itoa(c.serial),
	}).SignedString(c.key)
	if err != nil {
		panic("cloudtest: sign token: " + err.Error()) // of strings and numbers
	}
	c.tokens[token] = &issued{user: u, at: now, expires: expires}
	return token, expires
}

// ValidUser reports whether a user's token works now.
func (c *Cloud) ValidUser(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admitUser(token) != nil
}

func (c *Cloud) admitUser(token string) *User {
	t := c.tokens[token]
	if t == nil || t.user == nil || t.revoked || !c.now().Before(t.expires) {
		return nil
	}
	return t.user
}

// secrets is GET /api/v2/devices/ID/secrets, which renews the device's token.
// Whoever is no super user shows the device's CPU id, in a body.
func (c *Cloud) secrets(w http.ResponseWriter, r *http.Request) {
	var body struct {
		CPUID string `json:"cpuId"`
	}
	bad := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&body)
	id, _ := strconv.Atoi(r.PathValue("id"))
	token := r.Header.Get("X-Access-Token")
	c.mu.Lock()
	u, d := c.admitUser(token), c.devices[id]
	own, _, _ := c.admit(token)
	answer := map[string]any{}
	if u != nil && d != nil && (u.Super || bad == nil && body.CPUID == d.CPUID) {
		answer = map[string]any{"cpuId": d.CPUID, "uuid": d.UUID, "token": c.issue(d, c.opt.TokenLife)}
	}
	c.mu.Unlock()
	switch {
	case u == nil && own != nil:
		c.refuse(w, r, http.StatusForbidden, apiError{typeNotAuthorized, "Secrets are for users.", map[string]any{}})
	case u == nil:
		c.refuse(w, r, http.StatusUnauthorized, apiError{typeNotAuthorized, "Not authorized: no valid token of a user.", map[string]any{}})
	case d == nil:
		c.refuse(w, r, http.StatusNotFound, notFound("device", r.PathValue("id")))
	case len(answer) > 0:
		c.reply(w, r, http.StatusOK, answer)
	case body.CPUID == "":
		c.refuse(w, r, http.StatusBadRequest, fieldError(typeRequiredField, "cpuId", "%q is missing.", "cpuId"))
	default:
		c.refuse(w, r, http.StatusBadRequest, fieldError(typeInvalidField, "cpuId", "%q contains invalid value %q.", "cpuId", body.CPUID))
	}
}
