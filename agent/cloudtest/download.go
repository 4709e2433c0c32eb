package cloudtest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// getRelease is the download of an OTA file.
func (c *Cloud) getRelease(w http.ResponseWriter, r *http.Request, d *device) {
	op := operation(r)
	id, _ := strconv.Atoi(r.PathValue("id"))
	f, ok := c.downloadable(id, op)
	if !ok {
		c.refuse(w, r, http.StatusNotFound, notFound("ota-file", r.PathValue("id")))
		return
	}
	if _, ok := c.hit(RedirectFiles, op); ok {
		path := fmt.Sprintf("/ota/%d", id)
		http.Redirect(w, r, c.Addrs().Files+path+"?signature="+c.sign(path), http.StatusFound)
		return
	}
	c.send(w, r, f, d.ID)
}

// downloadable returns an OTA file whose content may be had.
func (c *Cloud) downloadable(id int, op string) (release, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.releases[id]
	if f == nil {
		return release{}, false
	}
	if !f.Active {
		if _, ok := c.faults.Roll(WithdrawnDownloadable, op); !ok {
			return release{}, false
		}
	}
	return *f, true
}

func (c *Cloud) sign(path string) string {
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(path))
	return hex.EncodeToString(h.Sum(nil))
}

// ServeFiles is the other host, to which downloads are redirected. It wants no
// token: one that arrives is an EventLeak.
func (c *Cloud) ServeFiles(w http.ResponseWriter, r *http.Request) {
	if !c.serving.Begin() {
		panic(http.ErrAbortHandler)
	}
	defer c.serving.End()
	r = r.WithContext(context.WithValue(r.Context(), opKey{}, "files"))
	if token := r.Header.Get("X-Access-Token") + r.Header.Get("Authorization"); token != "" {
		c.record(Event{Kind: EventLeak, Op: "files", Path: r.URL.Path, Token: tail(token)})
	}
	rec := &host.Recorder{ResponseWriter: w}
	defer func() {
		c.record(Event{Kind: EventRequest, Op: "files", Method: r.Method, Path: r.URL.Path, Status: rec.Status})
	}()
	id, isFile := strings.CutPrefix(r.URL.Path, "/ota/")
	switch {
	case r.URL.Path == "/portal":
		host.Page(rec, http.StatusOK, "Welcome! Accept our terms to go online.")
		return
	case c.spoiler.Spoil(rec, r, "files"):
		return
	case !isFile || !hmac.Equal([]byte(r.URL.Query().Get("signature")), []byte(c.sign(r.URL.Path))):
		host.Page(rec, http.StatusForbidden, "SignatureDoesNotMatch")
		return
	}
	n, _ := strconv.Atoi(id)
	f, ok := c.downloadable(n, "files")
	if !ok {
		host.Page(rec, http.StatusNotFound, "NoSuchKey")
		return
	}
	c.send(rec, r, f, 0)
}

// send serves the bytes of an OTA file, with the validators and the ranges
// that the faults leave it.
func (c *Cloud) send(w http.ResponseWriter, r *http.Request, f release, device int) {
	op := operation(r)
	content, err := f.Content.Open()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer content.Close()
	etag, err := tag(content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, weak := c.hit(WeakETag, op)
	if _, no := c.hit(NoETag, op); weak && !no {
		w.Header().Set("ETag", `W/"`+etag+`"`)
	} else if !no {
		w.Header().Set("ETag", `"`+etag+`"`)
	}
	modified := f.modified
	if _, ok := c.hit(NoLastModified, op); ok {
		modified = time.Time{}
	}
	r = c.bendRange(r, op)
	body := &body{ResponseWriter: w, c: c, r: r, id: f.ID, device: device}
	_, body.noRange = c.hit(NoRange, op)
	_, body.noLength = c.hit(NoLength, op)
	body.cut = -1
	if arg, ok := c.hit(CutBody, op); ok {
		body.cut, _ = strconv.ParseInt(arg, 10, 64)
	}
	if arg, ok := c.hit(SlowBody, op); ok {
		body.rate, _ = strconv.ParseInt(arg, 10, 64)
	}
	if body.noRange {
		r.Header.Del("Range")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	defer c.track(body)()
	defer body.done()
	http.ServeContent(body, r, "", modified, content)
}

// bendRange returns a request that may be changed; with WrongRange its range
// begins too late.
func (c *Cloud) bendRange(r *http.Request, op string) *http.Request {
	r = r.Clone(r.Context())
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	first, last, _ := strings.Cut(spec, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	if !ok || err != nil {
		return r
	}
	if arg, ok := c.hit(WrongRange, op); ok {
		by, _ := strconv.ParseInt(arg, 10, 64)
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", n+by, last))
	}
	return r
}

// A body is an answer whose bytes are counted, slowed down and cut.
type body struct {
	http.ResponseWriter
	c                 *Cloud
	r                 *http.Request
	id, device        int
	offset, sent      atomic.Int64 // others look at them
	status            int
	cut, rate         int64 // cut below zero and rate zero mean: not
	noRange, noLength bool
}

func (b *body) WriteHeader(status int) {
	b.status = status
	h := b.Header()
	if b.noRange {
		h.Del("Accept-Ranges")
	}
	if b.noLength {
		h.Del("Content-Length")
	}
	var offset int64
	fmt.Sscanf(h.Get("Content-Range"), "bytes %d-", &offset)
	b.offset.Store(offset)
	b.ResponseWriter.WriteHeader(status)
}

func (b *body) Write(p []byte) (int, error) {
	limit := len(p)
	if b.cut >= 0 {
		limit = int(min(int64(limit), b.cut-b.sent.Load()))
	}
	n, err := b.write(p[:limit])
	if err == nil && limit < len(p) {
		http.NewResponseController(b.ResponseWriter).Flush()
		b.done()
		b.c.spoiler.Abort(CutBody, operation(b.r))
	}
	return n, err
}

// write sends p, in parts of a tenth of a second if it is to be slow.
func (b *body) write(p []byte) (sent int, err error) {
	for len(p) > 0 && err == nil {
		part := p
		if b.rate > 0 {
			part = p[:min(int64(len(p)), max(1, b.rate/10))]
			wait := time.Duration(len(part)) * time.Second / time.Duration(b.rate)
			if !b.c.serving.Pause(b.r.Context(), wait) {
				return sent, context.Canceled
			}
		}
		var n int
		n, err = b.ResponseWriter.Write(part)
		if b.rate > 0 {
			http.NewResponseController(b.ResponseWriter).Flush()
		}
		sent += n
		b.sent.Add(int64(n))
		p = p[n:]
	}
	return sent, err
}

// done records what was sent, once.
func (b *body) done() {
	if b.status != http.StatusOK && b.status != http.StatusPartialContent {
		return
	}
	b.status = 0
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	b.c.served[b.id] += b.sent.Load()
	b.c.note(Event{Kind: EventDownload, Op: operation(b.r), Device: b.device, ID: b.id, Offset: b.offset.Load(), Size: b.sent.Load()})
}

// Served returns how many bytes of an OTA file have been sent in all.
func (c *Cloud) Served(id int) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served[id]
}
