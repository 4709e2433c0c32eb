package cloudtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The types of an API error. The vendor publishes the first two; the others
// are described without their literal names.
const (
	typeInvalidField  = "invalid-field"
	typeRequiredField = "required-field"
	typeUnknownField  = "unknown-field"
	typeNotFound      = "entity-not-found"
	typeNotAuthorized = "not-authorized"
	typeLimit         = "limit-exceeded"
	typeOperation     = "invalid-operation"
)

// An apiError is one entry of the error body of API v2.
type apiError struct {
	Type    string         `json:"type"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
}

func fieldError(typ, field, format string, args ...any) apiError {
	return apiError{typ, fmt.Sprintf(format, args...), map[string]any{"field": field}}
}

func notFound(entity string, id string) apiError {
	return apiError{typeNotFound, fmt.Sprintf("There is no %s %q.", entity, id), map[string]any{"entityType": entity, "entityId": id}}
}

func (c *Cloud) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern, op string, h func(http.ResponseWriter, *http.Request, *device)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			c.serve(w, r, op, func(w http.ResponseWriter, r *http.Request) {
				if d := c.authorize(w, r); d != nil {
					h(w, r, d)
				}
			})
		})
	}
	mux.HandleFunc("POST /loginDevice", func(w http.ResponseWriter, r *http.Request) {
		c.serve(w, r, "login", c.login)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		c.serve(w, r, "user-login", c.userLogin)
	})
	mux.HandleFunc("GET /api/v2/devices/{id}/secrets", func(w http.ResponseWriter, r *http.Request) {
		c.serve(w, r, "secrets", c.secrets)
	})
	handle("GET /api/v2/devices/{id}", "device", c.getDevice)
	handle("GET /api/v2/ota-files", "ota-list", c.listReleases)
	handle("GET /api/v2/ota-files/{id}/file", "ota-file", c.getRelease)
	handle("POST /api/v2/data-files", "data-create", c.createDataFile)
	handle("POST /api/v2/data-files/{id}/file", "data-put", c.putDataFile)
	handle("GET /api/v1/deviceUser/read-only/models/firmware", "v1", c.listFirmware)
	handle("GET /api/v1/deviceUser/read-only/models/firmware/{id}", "v1", c.getRelease)
	handle("POST /api/v1/deviceUser/read-only/saveLogFile", "v1", c.saveLogFile)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.serve(w, r, "", func(w http.ResponseWriter, r *http.Request) {
			c.refuse(w, r, http.StatusNotFound, apiError{typeNotFound, "There is no such endpoint.", map[string]any{}})
		})
	})
	return mux
}

// ServeHTTP is the API.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.serving.Begin() {
		panic(http.ErrAbortHandler)
	}
	defer c.serving.End()
	c.mux.ServeHTTP(w, r)
}

// authorize returns the device of the request's token, or answers 401.
func (c *Cloud) authorize(w http.ResponseWriter, r *http.Request) *device {
	c.mu.Lock()
	d, _, why := c.admit(r.Header.Get("X-Access-Token"))
	if d != nil {
		d.lastOnline = c.now()
	}
	c.mu.Unlock()
	if d == nil {
		c.refuse(w, r, http.StatusUnauthorized, apiError{typeNotAuthorized, "Not authorized: " + why + ".", map[string]any{}})
	}
	return d
}

// refuse answers with the error body of API v2.
func (c *Cloud) refuse(w http.ResponseWriter, r *http.Request, status int, errs ...apiError) {
	c.reply(w, r, status, map[string]any{"errors": errs})
}

// reply answers with JSON, spoilt as the faults say.
func (c *Cloud) reply(w http.ResponseWriter, r *http.Request, status int, v any) {
	c.spoiler.Reply(w, operation(r), status, v)
}

// id is how an answer shows an id: a number, or a string.
func (c *Cloud) id(id int, r *http.Request) any {
	if _, ok := c.hit(StringIDs, operation(r)); ok {
		return strconv.Itoa(id)
	}
	return id
}

func (c *Cloud) getDevice(w http.ResponseWriter, r *http.Request, d *device) {
	id, err := strconv.Atoi(r.PathValue("id"))
	c.mu.Lock()
	known := err == nil && c.devices[id] != nil
	answer := map[string]any{
		"identifier": d.Identifier, "serialNumber": nil, "modelId": 9, "name": "Model Nine",
		"lastOnline":   d.lastOnline.UTC().Format(time.RFC3339Nano),
		"lastLatitude": d.lat, "lastLongitude": d.lon, "softwareVersions": d.versions,
	}
	body, err := json.Marshal(answer) // while nobody changes the device
	c.mu.Unlock()
	switch {
	case err != nil:
		panic(fmt.Sprintf("cloudtest: marshal device: %v", err))
	case !known:
		c.refuse(w, r, http.StatusNotFound, notFound("device", r.PathValue("id")))
		return
	case id != d.ID:
		c.refuse(w, r, http.StatusForbidden, apiError{typeNotAuthorized, "A device may read only itself.", map[string]any{}})
		return
	}
	answer = map[string]any{}
	if err := json.Unmarshal(body, &answer); err != nil {
		panic(fmt.Sprintf("cloudtest: copy device: %v", err))
	}
	answer["id"] = c.id(d.ID, r)
	c.reply(w, r, http.StatusOK, answer)
}
