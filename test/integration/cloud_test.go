//go:build integration

package integration

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

const deviceID = 4711

// cloud is the application behind nginx: it renews tokens, lists the release
// and names its file, and takes data files.
type cloud struct {
	t       *testing.T
	onRenew func(old, token string) error // before the answer
	ready   <-chan struct{}               // no answer to a login before it is closed; nil: at once

	mu       sync.Mutex
	released string // version on offer, if any
	token    string // the newest
	logins   []map[string]string
	ranges   []string // of the requests for the file
	created  []map[string]string
	uploads  map[int][]byte
	denied   int
}

const tokenLife = 7 * 24 * time.Hour

// newToken makes a token as the cloud would, so that it has left to live.
func newToken(left time.Duration) string {
	expires := time.Now().Add(left)
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + part(map[string]any{
		"deviceId": deviceID, "prefix": fmt.Sprintf("mrs/d/%d", deviceID),
		"iat": expires.Add(-tokenLife).Unix(), "exp": expires.Unix(),
	}) + "." + rand.Text()
}

func (c *cloud) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /loginDevice", c.login)
	mux.HandleFunc("GET /api/v2/ota-files", c.authorized(c.list))
	mux.HandleFunc("GET /api/v2/ota-files/12/file", c.authorized(c.file))
	mux.HandleFunc("POST /api/v2/data-files", c.authorized(c.create))
	mux.HandleFunc("POST /api/v2/data-files/{id}/file", c.authorized(c.put))
	mux.HandleFunc("GET /api/v2/devices/{id}", c.authorized(func(w http.ResponseWriter, r *http.Request) {
		c.answer(w, http.StatusOK, map[string]any{"id": deviceID, "identifier": "MConn 0042", "softwareVersions": nil})
	}))
	return mux
}

func (c *cloud) authorized(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		ok := r.Header.Get("x-access-token") == c.token
		if !ok {
			c.denied++
		}
		c.mu.Unlock()
		if !ok {
			c.answer(w, http.StatusUnauthorized, map[string]any{"errors": []any{}})
			return
		}
		next(w, r)
	}
}

func (c *cloud) login(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		c.answer(w, http.StatusBadRequest, map[string]string{"message": err.Error()})
		return
	}
	if c.ready != nil {
		select {
		case <-c.ready:
		case <-r.Context().Done(): // nobody waits for the answer
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins = append(c.logins, in)
	if in["token"] != c.token || in["cpu_id"] != cpuID || in["uuid"] != uuid {
		c.answer(w, http.StatusBadRequest, map[string]string{"message": "incorrect value"})
		return
	}
	token := newToken(tokenLife)
	if err := c.onRenew(c.token, token); err != nil {
		c.t.Error(err)
	}
	c.token = token
	c.answer(w, http.StatusCreated, map[string]string{"token": token})
}

func (c *cloud) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c.mu.Lock()
	released := c.released
	c.mu.Unlock()
	files := []any{}
	if released != "" && q.Get("module") == "display" && q.Get("isActive") == "1" && q.Get("offset") == "0" {
		files = append(files, map[string]any{
			"id": "12", "modelId": 3, "moduleId": 5, "module": "display", "version": released,
			"fileLocation": "/bin", "isActive": true, "createdDate": "2026-11-01", "releaseNotes": nil,
		})
	}
	c.answer(w, http.StatusOK, files)
}

// file lets nginx send the contents: Range and validators are its own. What is
// asked for from its beginning hardly comes on after 8 MiB of it.
func (c *cloud) file(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.ranges = append(c.ranges, r.Header.Get("Range"))
	c.mu.Unlock()
	if r.Header.Get("Range") == "" {
		w.Header().Set("X-Accel-Limit-Rate", "1024")
	}
	w.Header().Set("X-Accel-Redirect", "/named/firmware.bin")
}

func (c *cloud) create(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		c.answer(w, http.StatusBadRequest, map[string]any{"errors": []any{}})
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.created = append(c.created, in)
	c.answer(w, http.StatusOK, map[string]int{"id": 100 + len(c.created)})
}

func (c *cloud) put(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		c.t.Error(err)
	}
	part, _, err := r.FormFile("files")
	if err != nil {
		c.t.Errorf("upload without a part named files: %v", err)
		c.answer(w, http.StatusBadRequest, map[string]any{"errors": []any{}})
		return
	}
	defer part.Close()
	data, err := io.ReadAll(part)
	if err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uploads[id] = data
	c.answer(w, http.StatusOK, map[string]string{"path": "/data/" + r.PathValue("id")})
}

func (c *cloud) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		c.t.Log(err)
	}
}

// seen runs look with everything at rest.
func (c *cloud) seen(look func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	look()
}
