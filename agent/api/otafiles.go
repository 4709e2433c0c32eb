package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

const (
	maxList     = 4 << 20  // bytes of one page
	maxElements = 4096     // elements of one page
	maxText     = 64 << 10 // bytes of one string in it
	pageSize    = 50       // the service's own default
)

// An OTAFile is one entry of the catalogue.
type OTAFile struct {
	ID       string
	Module   string // key of the module it is for
	Version  string
	Active   bool
	Created  time.Time // zero if unknown, as Released
	Released time.Time
	Notes    string
	// Err says why this entry, by its index, cannot be used; it is then not
	// Active. It keeps its place, so that a full page still counts as full.
	Err error
}

// OTAFiles returns a page of the active files for module: up to limit of them
// (50 if zero) from offset on. A page shorter than limit is the last.
func (c *Client) OTAFiles(ctx context.Context, module string, limit, offset int) ([]OTAFile, error) {
	if limit <= 0 {
		limit = pageSize
	}
	k := &call{
		method: http.MethodGet, path: []string{"api/v2/ota-files"}, policy: sameHost,
		query: url.Values{
			"limit": {strconv.Itoa(limit)}, "offset": {strconv.Itoa(offset)},
			"module": {module}, "isActive": {"1"},
		},
	}
	_, body, err := c.json(ctx, k, nil, maxList)
	if err != nil {
		return nil, err
	}
	files, err := decodeOTAFiles(body)
	if err == nil && offset == 0 && len(files) > 0 && !slices.ContainsFunc(files, func(f OTAFile) bool { return f.Err == nil }) {
		// Nonsense is no empty catalogue, for which releases would be given up.
		err = fmt.Errorf("%w: no element can be used: %w", errShape, files[0].Err)
	}
	if err != nil {
		return nil, c.malformed(k, err)
	}
	return files, nil
}

func decodeOTAFiles(body []byte) ([]OTAFile, error) {
	if looksHTML(body) {
		return nil, fmt.Errorf("%w: an HTML page instead of JSON", errShape)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	switch first, err := dec.Token(); {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errShape, err)
	case first != json.Delim('['):
		return nil, fmt.Errorf("%w: not an array", errShape)
	}
	files := []OTAFile{}
	for dec.More() {
		if len(files) == maxElements {
			return nil, fmt.Errorf("%w: more than %d elements", errShape, maxElements)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("%w: element %d: %w", errShape, len(files), err)
		}
		f, err := decodeOTAFile(raw)
		if err != nil {
			f.Active, f.Err = false, fmt.Errorf("element %d: %w", len(files), err)
		}
		files = append(files, f)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: %w", errShape, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("%w: more after the array", errShape)
	}
	return files, nil
}

func decodeOTAFile(raw []byte) (OTAFile, error) {
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil || f == nil {
		return OTAFile{}, errors.New("not an object")
	}
	for _, key := range []string{"module", "version", "releaseNotes"} {
		if len(f[key]) > maxText {
			return OTAFile{}, fmt.Errorf("%s is longer than %d bytes", key, maxText)
		}
	}
	file := OTAFile{
		Module: f.text("module"), Version: f.text("version"), Notes: f.text("releaseNotes"),
		Created: f.time("createdDate"), Released: f.time("releaseDate"),
		Active: true, // as was asked for, should the entry not say
	}
	var err error
	if file.ID, err = f.id("id"); err != nil {
		return file, err
	}
	for _, key := range []string{"module", "version"} {
		if f.text(key) == "" {
			return file, fmt.Errorf("%s is missing or not a string", key)
		}
	}
	if !f.null("isActive") {
		file.Active, err = f.flag("isActive")
	}
	return file, err
}

// OTAContent asks for the contents of file id, with the caller's own header
// (Range, If-Range). Every status is the caller's to judge, but a redirect that
// was not followed is a *StatusError. The caller closes the body and decides
// how slow is too slow; ctx ends it.
//
// A redirect to another https host is followed without the access token.
func (c *Client) OTAContent(ctx context.Context, id string, h http.Header) (*http.Response, error) {
	if err := checkID(id); err != nil {
		return nil, idError("OTA file", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(c.timeout(), func() { cancel(errNoAnswer) })
	res, err := c.do(ctx, &call{
		method: http.MethodGet, path: []string{"api/v2/ota-files", url.PathEscape(id), "file"},
		header: h, policy: anyHost,
	})
	late.Stop()
	if err != nil {
		cancel(nil)
		return nil, err
	}
	res.Body = &content{res.Body, cancel}
	return res, nil
}

var errNoAnswer = errors.New("no answer in time")

func idError(what string, err error) error { return fmt.Errorf("%s id %w", what, err) }
