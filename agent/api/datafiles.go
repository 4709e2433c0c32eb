package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"sync"
	"time"
)

const (
	maxCreated = 64 << 10        // bytes of the answers about data files
	stallAfter = 2 * time.Minute // without a byte of an upload taken
)

// ErrEmpty means that a data file would have no contents, which the service
// refuses.
var ErrEmpty = errors.New("file is empty")

var errStalled = errors.New("upload stalled")

// CreateDataFile registers a data file of type typ, of a module unless its key
// is empty, and returns its id for PutDataFile.
func (c *Client) CreateDataFile(ctx context.Context, typ, module string) (id string, err error) {
	fields := map[string]string{"type": typ}
	if module != "" {
		fields["moduleKey"] = module // API v2 refuses fields it does not know
	}
	k := &call{method: http.MethodPost, path: []string{"api/v2/data-files"}, policy: sameHost}
	_, body, err := c.json(ctx, k, fields, maxCreated)
	if err != nil {
		return "", err
	}
	f, err := decodeObject(body)
	if err == nil {
		id, err = f.id("id")
	}
	if err != nil {
		return "", c.malformed(k, err)
	}
	return id, nil
}

// PutDataFile sends the contents of data file id: the size bytes that r holds,
// neither more nor less, streamed under the file name name. Sending the same
// contents again is harmless. It does not read r after it has returned.
func (c *Client) PutDataFile(ctx context.Context, id, name string, size int64, r io.Reader) error {
	if err := checkID(id); err != nil {
		return idError("data file", err)
	}
	if size <= 0 {
		return fmt.Errorf("data file %s: %w", id, ErrEmpty)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stallAfter, func() { cancel(errStalled) })
	defer stalled.Stop()

	head, tail, contentType, err := form(name)
	if err != nil {
		return err
	}
	body := &upload{
		Reader: io.MultiReader(bytes.NewReader(head), &exactly{r, size}, bytes.NewReader(tail)),
		moved:  func(next time.Duration) { stalled.Reset(next) },
		closed: make(chan struct{}),
	}
	k := &call{
		method: http.MethodPost, path: []string{"api/v2/data-files", url.PathEscape(id), "file"}, policy: sameHost,
		header: http.Header{"Content-Type": {contentType}, "Accept": {"application/json"}},
		body:   body, size: int64(len(head)) + size + int64(len(tail)),
	}
	err = c.put(ctx, k, stalled)
	cancel(nil) // ends a body that is still being sent after an early answer
	<-body.closed
	return err
}

func (c *Client) put(ctx context.Context, k *call, stalled *time.Timer) error {
	res, err := c.do(ctx, k)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	stalled.Reset(c.timeout())
	_, answer, err := readAnswer(res, k, maxCreated)
	if err == nil && looksHTML(answer) {
		err = c.malformed(k, fmt.Errorf("%w: an HTML page instead of JSON", errShape))
	}
	return err
}

// form returns what goes before and after the contents of a file in a
// multipart/form-data body (RFC 7578) with one part, "files".
func form(name string) (head, tail []byte, contentType string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", multipart.FileContentDisposition("files", name))
	h.Set("Content-Type", "application/octet-stream")
	if _, err = w.CreatePart(h); err != nil {
		return nil, nil, "", err
	}
	n := b.Len()
	if err = w.Close(); err != nil {
		return nil, nil, "", err
	}
	return b.Bytes()[:n], b.Bytes()[n:], w.FormDataContentType(), nil
}

// exactly reads n bytes of r and fails when there are fewer or more: a file
// that changed under us must not arrive as if it were whole.
type exactly struct {
	r io.Reader
	n int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.n > 0 {
		n, err := e.r.Read(p[:min(int64(len(p)), e.n)])
		if e.n -= int64(n); err == io.EOF && e.n > 0 {
			err = fmt.Errorf("contents %d bytes short: %w", e.n, io.ErrUnexpectedEOF)
		} else if err == io.EOF {
			err = nil // the next Read looks for more
		}
		return n, err
	}
	var more [1]byte
	n, err := e.r.Read(more[:])
	switch {
	case n > 0:
		return 0, errors.New("contents longer than announced")
	case err == nil:
		return 0, nil
	}
	return 0, err
}

// upload is the body of a request: it notes when it moves and when the
// transport, which may outlive the call, has let go of it.
type upload struct {
	io.Reader
	moved  func(next time.Duration) // and has to move again within next
	once   sync.Once
	closed chan struct{}
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	switch {
	case err == io.EOF:
		u.moved(slowest) // all is with the kernel, not yet with the server
	case n > 0:
		u.moved(stallAfter)
	}
	return n, err
}

func (u *upload) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}

// content is a response body that ends its request's context when closed.
type content struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (c *content) Close() error {
	err := c.ReadCloser.Close()
	c.cancel(nil)
	return err
}
