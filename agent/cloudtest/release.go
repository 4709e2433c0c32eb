package cloudtest

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Release is an OTA file of the catalogue.
type Release struct {
	ID       int       `json:"id"`
	Module   string    `json:"module"`
	Version  string    `json:"version"`
	Notes    string    `json:"notes,omitempty"`
	Active   bool      `json:"active"`
	Created  time.Time `json:"created"`
	Released time.Time `json:"released"`
	Content  Content   `json:"-"`
}

type release struct {
	Release
	modified time.Time // of the content
}

// Offer puts a file into the catalogue, active, and returns its id.
func (c *Cloud) Offer(module, version string, content Content) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now().UTC().Truncate(time.Second)
	id := 7 + len(c.releases)
	c.releases[id] = &release{
		Release: Release{
			ID: id, Module: module, Version: version, Active: true, Content: content,
			Notes: fmt.Sprintf("Release %s of %s.", version, module), Created: now, Released: now,
		},
		modified: now,
	}
	return id
}

// Edit changes an OTA file of the catalogue, all but its id. It reports
// whether there is one.
func (c *Cloud) Edit(id int, change func(*Release)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.releases[id]
	if f == nil {
		return false
	}
	change(&f.Release)
	f.ID = id
	return true
}

// Withdraw makes an OTA file inactive: no longer listed as active, and its
// content gone.
func (c *Cloud) Withdraw(id int) bool {
	return c.Edit(id, func(r *Release) { r.Active = false })
}

// Activate undoes Withdraw.
func (c *Cloud) Activate(id int) bool {
	return c.Edit(id, func(r *Release) { r.Active = true })
}

// Replace gives an OTA file other bytes under the same id and version.
func (c *Cloud) Replace(id int, content Content) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.releases[id]
	if f == nil {
		return false
	}
	f.Content = content
	f.modified = f.modified.Add(time.Hour) // a server's clock may have stood still
	return true
}

// Releases returns the catalogue, by id.
func (c *Cloud) Releases() []Release {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Release
	for _, id := range slices.Sorted(maps.Keys(c.releases)) {
		all = append(all, c.releases[id].Release)
	}
	return all
}

// query is what a listing of OTA files asks for.
type query struct {
	limit, offset int
	module        string
	active        *bool
	term          string
	fields        []string
	sort          string
	descending    bool
}

var releaseFields = []string{"id", "module", "version", "createdDate", "releaseDate", "releaseNotes", "isActive", "modelId", "moduleId"}

// parseQuery reads the documented parameters and faults every other one.
func (c *Cloud) parseQuery(values url.Values) (q query, errs []apiError) {
	invalid := func(name, value string) {
		errs = append(errs, fieldError(typeInvalidField, name, "%q contains invalid value %q.", name, value))
	}
	q = query{limit: 50, fields: []string{"module", "version"}}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values.Get(name)
		n, err := strconv.Atoi(value)
		switch name {
		case "limit":
			if q.limit = n; err != nil || n < 1 {
				invalid(name, value)
			} else if n > c.opt.MaxLimit {
				errs = append(errs, fieldError(typeLimit, name, "%q exceeds %d.", name, c.opt.MaxLimit))
			}
		case "offset":
			if q.offset = n; err != nil || n < 0 {
				invalid(name, value)
			}
		case "isActive":
			if value != "1" && value != "0" {
				invalid(name, value)
			}
			active := value == "1"
			q.active = &active
		case "module":
			if q.module = value; value == "" {
				invalid(name, value)
			}
		case "searchTerm":
			q.term = value
		case "searchFields":
			q.fields = strings.Split(value, ",")
			for _, f := range q.fields {
				if !slices.Contains(releaseFields, f) {
					invalid(name, f)
				}
			}
		case "sort":
			if q.sort = value; !slices.Contains(releaseFields, value) {
				invalid(name, value)
			}
		case "sortOrder":
			if q.descending = value == "desc"; value != "asc" && value != "desc" {
				invalid(name, value)
			}
		default:
			errs = append(errs, fieldError(typeUnknownField, name, "%q is unknown.", name))
		}
	}
	return q, errs
}

func (f *release) field(name string) string {
	switch name {
	case "id":
		return fmt.Sprintf("%09d", f.ID)
	case "module":
		return f.Module
	case "version":
		return f.Version
	case "createdDate":
		return f.Created.Format(time.RFC3339)
	case "releaseDate":
		return f.Released.Format(time.RFC3339)
	case "releaseNotes":
		return f.Notes
	case "isActive":
		return strconv.FormatBool(f.Active)
	}
	return ""
}

// find returns the page of the catalogue that q asks for. The caller holds c.mu.
func (c *Cloud) find(q query, d *device) []*release {
	var found []*release
	for _, id := range slices.Sorted(maps.Keys(c.releases)) {
		f := c.releases[id]
		if q.module != "" && f.Module != q.module ||
			q.active != nil && f.Active != *q.active ||
			len(d.Modules) > 0 && !slices.Contains(d.Modules, f.Module) ||
			q.term != "" && !slices.ContainsFunc(q.fields, func(name string) bool { return strings.Contains(f.field(name), q.term) }) {
			continue
		}
		found = append(found, f)
	}
	if q.sort != "" {
		slices.SortStableFunc(found, func(a, b *release) int {
			order := cmp.Compare(a.field(q.sort), b.field(q.sort))
			if q.descending {
				return -order
			}
			return order
		})
	} else if _, ok := c.faults.Roll(ShuffledList, "ota-list"); ok {
		slices.SortFunc(found, func(a, b *release) int { return cmp.Compare(scatter(a.ID), scatter(b.ID)) })
	}
	found = found[min(q.offset, len(found)):]
	return found[:min(q.limit, len(found))]
}

// scatter orders ids without meaning, but the same for every page.
func scatter(id int) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "release %d", id)
	return h.Sum64()
}

func (c *Cloud) listReleases(w http.ResponseWriter, r *http.Request, d *device) {
	q, errs := c.parseQuery(r.URL.Query())
	if len(errs) > 0 {
		c.refuse(w, r, http.StatusBadRequest, errs...)
		return
	}
	c.mu.Lock()
	found := c.find(q, d)
	list := make([]map[string]any, 0, len(found)) // "[]", not "null"
	for _, f := range found {
		list = append(list, map[string]any{
			"id": f.ID, "modelId": 2, "moduleId": 3, "module": f.Module, "version": f.Version,
			"fileLocation": fmt.Sprintf("/bin/%d", f.ID), "isActive": f.Active, "releaseNotes": f.Notes,
			"createdDate": f.Created.UTC().Format(time.RFC3339), "releaseDate": f.Released.UTC().Format(time.RFC3339),
		})
		if _, ok := c.faults.Roll(OddFields, "ota-list"); ok {
			makeOdd(list[len(list)-1], f.Active)
		}
	}
	c.mu.Unlock()
	for _, f := range list {
		f["id"] = c.id(f["id"].(int), r)
	}
	c.reply(w, r, http.StatusOK, list)
}

// makeOdd gives a listed file every oddity that the documents allow.
func makeOdd(f map[string]any, active bool) {
	f["isActive"] = 0
	if active {
		f["isActive"] = 1
	}
	f["createdDate"] = f["createdDate"].(string)[:len("2006-01-02")]
	f["modelId"], f["moduleId"] = nil, "3"
	f["releaseDate"], f["releaseNotes"], f["fileLocation"] = nil, nil, nil
	f["tags"] = []string{"a field that nobody knows"}
}

// listFirmware is the deprecated listing, with its older names.
func (c *Cloud) listFirmware(w http.ResponseWriter, r *http.Request, d *device) {
	c.mu.Lock()
	list := []map[string]any{}
	for _, f := range c.find(query{limit: len(c.releases)}, d) {
		list = append(list, map[string]any{"firmware_id": f.ID, "version_number": f.Version, "module": f.Module})
	}
	c.mu.Unlock()
	c.reply(w, r, http.StatusOK, list)
}
