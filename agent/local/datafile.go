package local

import (
	"errors"
	"io"
	"net/http"
	"path"
	"regexp"
)

var typeForm = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// add streams the body into the spool.
func (c *calls) add(w http.ResponseWriter, r *http.Request, p peer) error {
	q := r.URL.Query()
	typ, module, name := q.Get("type"), q.Get("module"), path.Base(q.Get("name"))
	if typ == "" {
		typ = "log"
	}
	switch {
	case len(typ) > 32 || !typeForm.MatchString(typ):
		return Errorf(Invalid, "type %q: lower-case letters, digits and dashes, 32 at most", shorten(typ))
	case module != "" && !isName(module):
		return Errorf(Invalid, "module %q: a name has letters, digits, dot, dash and underscore, 64 at most", shorten(module))
	case c.Add == nil:
		return Errorf(NotFound, "no data files are taken here")
	case r.ContentLength == 0:
		return Errorf(Invalid, "the file is empty")
	case r.ContentLength > c.maxBody():
		return Errorf(TooLarge, "%d bytes are more than the %d that one data file may have", r.ContentLength, c.maxBody())
	}
	if name == "." || name == "/" {
		name = "upload." + typ
	}
	body := &patient{Reader: http.MaxBytesReader(w, r.Body, c.maxBody()), more: func() { c.deadline(http.NewResponseController(w).SetReadDeadline) }}
	item, err := c.Add(r.Context(), typ, module, name, body)
	if err != nil && body.begun {
		// A peer that is still writing would meet a closed connection, not our answer.
		_, _ = io.Copy(io.Discard, io.LimitReader(&patient{Reader: r.Body, more: body.more}, c.maxBody()))
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return Errorf(TooLarge, "more than the %d bytes that one data file may have", large.Limit)
	case err != nil:
		return err
	}
	c.Log.Debug("data file taken over", "name", item.Name, "size", item.Size, "peer_uid", p.uid)
	c.answer(w, http.StatusCreated, item)
	return nil
}

// A patient reader gives its peer time for as long as bytes arrive.
type patient struct {
	io.Reader
	more  func()
	begun bool
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if n > 0 {
		p.begun = true
		p.more()
	}
	return n, err
}
