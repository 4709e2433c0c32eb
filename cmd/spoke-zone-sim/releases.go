package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// offer takes the body as an OTA file, or makes one of so many bytes.
func (a *admin) offer(w http.ResponseWriter, r *http.Request) (any, error) {
	q := r.URL.Query()
	if q.Get("module") == "" || q.Get("version") == "" {
		return nil, errors.New("want ?module= and ?version=")
	}
	content, err := a.content(w, r)
	if err != nil {
		return nil, err
	}
	var o Offered
	if o.Size, o.SHA256, err = cloudtest.Digest(content); err != nil {
		return nil, err
	}
	o.ID = a.cloud.Offer(q.Get("module"), q.Get("version"), content)
	if notes := q.Get("notes"); notes != "" {
		a.cloud.Edit(o.ID, func(r *cloudtest.Release) { r.Notes = notes })
	}
	return o, nil
}

func (a *admin) content(w http.ResponseWriter, r *http.Request) (cloudtest.Content, error) {
	if size := r.URL.Query().Get("size"); size != "" {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || n < 0 || n > maxRelease {
			return nil, fmt.Errorf("size %q: want 0 to %d", size, maxRelease)
		}
		seed, _ := strconv.ParseUint(r.URL.Query().Get("seed"), 10, 64)
		return cloudtest.Seeded(seed, n), nil
	}
	if a.stored.Load() > maxStored {
		return nil, fmt.Errorf("there are %d bytes of OTA files already", a.stored.Load())
	}
	f, err := os.CreateTemp(a.files, "release-")
	if err != nil {
		return nil, fmt.Errorf("keep file: %w", err)
	}
	n, err := io.Copy(f, http.MaxBytesReader(w, r.Body, maxRelease))
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return nil, fmt.Errorf("keep file: %w", err)
	}
	a.stored.Add(n)
	return cloudtest.File(f.Name()), nil
}

func (a *admin) activate(active bool) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil || !a.cloud.Edit(id, func(r *cloudtest.Release) { r.Active = active }) {
			return nil, fmt.Errorf("there is no OTA file %q", r.PathValue("id"))
		}
		return map[string]any{"id": id, "active": active}, nil
	}
}
