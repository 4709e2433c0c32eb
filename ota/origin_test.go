package ota

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// An origin is a server of releases. Its bytes are served by net/http, in
// memory, so that its ranges and validators are those of a real one.
type origin struct {
	mu       sync.Mutex
	files    []File
	contents map[string][]byte
	tag      map[string]string // ETag by id; none if missing
	modified time.Time         // Last-Modified; none if zero
	noRange  bool
	chunked  bool // no Content-Length
	place    string

	pace    time.Duration // between the chunks of a body
	chunk   int           // bytes; 64 KiB if 0
	cut     func() int    // after how many bytes the connection breaks; < 0 never
	fault   func(n int, h http.Header) (*Response, error)
	listErr error
	ignore  bool // the offset
	delay   time.Duration

	opens, lists int
	served       int64
	headers      []http.Header
	position     int64 // in the file, of the newest body
}

func newOrigin(files ...File) *origin {
	return &origin{files: files, contents: map[string][]byte{}, tag: map[string]string{}, place: "https://cloud.example"}
}

func (o *origin) put(f File, contents []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files = append(o.files, f)
	o.swap(f.ID, contents)
}

// swap replaces a file's contents and tag.
func (o *origin) swap(id string, contents []byte) {
	o.contents[id] = contents
	o.tag[id] = fmt.Sprintf(`"%.12s"`, digest(contents))
}

func (o *origin) remove(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.contents, id)
	for i, f := range o.files {
		if f.ID == id {
			o.files = append(o.files[:i:i], o.files[i+1:]...)
			return
		}
	}
}

// set changes the cloud while a Manager talks to it.
func (o *origin) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *origin) source() Source { return Source{List: o.list, Open: o.open} }

func (o *origin) list(_ context.Context, module string, limit, offset int) ([]File, error) {
	time.Sleep(o.delay)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lists++
	if o.listErr != nil {
		return nil, o.listErr
	}
	if o.ignore {
		offset = 0
	}
	var all []File
	for _, f := range o.files {
		if f.Module == module {
			all = append(all, f)
		}
	}
	all = all[min(offset, len(all)):]
	return all[:min(limit, len(all))], nil
}

func (o *origin) open(ctx context.Context, id string, h http.Header) (Response, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opens++
	o.headers = append(o.headers, h)
	if o.fault != nil {
		if r, err := o.fault(o.opens, h); r != nil || err != nil {
			if err != nil {
				return Response{}, err
			}
			if r.Body == nil {
				r.Body = http.NoBody
			}
			return *r, nil
		}
	}
	contents, ok := o.contents[id]
	if !ok {
		return Response{Status: 404, Header: http.Header{}, Body: http.NoBody}, nil
	}
	req := httptest.NewRequest("GET", "/", nil)
	req.Header = h.Clone()
	if o.noRange {
		req.Header.Del("Range")
	}
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/octet-stream")
	rec.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if tag := o.tag[id]; tag != "" {
		rec.Header().Set("ETag", tag)
	}
	http.ServeContent(rec, req, "", o.modified, bytes.NewReader(contents))
	if o.chunked {
		rec.Header().Del("Content-Length")
	}
	cut := -1
	if o.cut != nil {
		cut = o.cut()
	}
	b := &body{o: o, ctx: ctx, data: rec.Body.Bytes(), chunk: o.chunk, pace: o.pace, cut: cut}
	if b.chunk == 0 {
		b.chunk = 64 << 10
	}
	o.position = int64(len(contents) - len(b.data))
	return Response{Status: rec.Code, Header: rec.Header(), Body: b, URL: o.place + "/file/" + id}, nil
}

// A body arrives in chunks and may break.
type body struct {
	o     *origin
	ctx   context.Context
	data  []byte
	chunk int
	pace  time.Duration
	cut   int
	sent  int
}

func (b *body) Read(p []byte) (int, error) {
	if b.pace > 0 {
		select {
		case <-time.After(b.pace):
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	if b.sent == b.cut {
		return 0, errors.New("connection reset by peer")
	}
	if b.sent == len(b.data) {
		return 0, io.EOF
	}
	end := min(len(b.data), b.sent+min(b.chunk, len(p)))
	if b.cut >= 0 {
		end = min(end, max(b.cut, b.sent))
	}
	n := copy(p, b.data[b.sent:end])
	b.sent += n
	b.o.mu.Lock()
	b.o.served += int64(n)
	b.o.position += int64(n)
	b.o.mu.Unlock()
	return n, nil
}

func (b *body) Close() error { return nil }

func random(r *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := 0; i < n; i += 64 << 10 {
		// Every block is different, so that a hole or a shift shows.
		block := data[i:min(n, i+64<<10)]
		x := r.Uint64() | 1
		for len(block) >= 8 {
			x = x*6364136223846793005 + 1442695040888963407
			binary.LittleEndian.PutUint64(block, x^x>>32)
			block = block[8:]
		}
		for j := range block {
			block[j] = byte(x >> (8 * j))
		}
	}
	return data
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
