package ota

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// receive stores a body as v says and returns v, or what is to be done instead.
func (t *transfer) receive(ctx context.Context, cancel context.CancelCauseFunc, a ask, v verdict, body io.Reader, watch *stall) verdict {
	if v.action == rewrite {
		// A server that has the same file and sends all of it does not serve ranges.
		t.noRange = t.noRange || a.Ranged && v.mark == a.Mark && v.total == a.Total
		if err := t.reset(); err != nil {
			return unstored(err)
		}
	} else if a.From < a.Offset {
		same, err := t.sameOverlap(a, body)
		switch {
		case err != nil:
			return interrupted(ctx, err)
		case !same:
			return verdict{action: restart, why: "the bytes stored are not the server's"}
		}
		t.compare = false
	}
	t.at.Total, t.at.Mark, t.at.URLKey = v.total, v.mark, v.urlKey
	if v, ok := t.admit(max(v.total, t.Due.total())); !ok {
		return v
	}
	if v.total > t.allocated {
		if err := t.part.Allocate(v.total); err != nil {
			return unstored(err)
		}
		t.allocated = v.total
	}
	if v.end >= 0 {
		body = io.LimitReader(body, v.end-t.at.Offset)
	}
	t.meter.begin(t.at)
	if t.buffers == nil {
		t.buffers = new(buffers)
	}
	p := pipeline{src: body, limit: t.Limit, stall: watch, buffers: t.buffers}
	rerr, werr := p.run(ctx, func() { cancel(nil) }, t.store)
	switch {
	case werr != nil:
		return unstored(werr)
	case rerr != nil:
		return interrupted(ctx, rerr)
	}
	return t.ended(v)
}

// ended judges a body that ended without an error.
func (t *transfer) ended(v verdict) verdict {
	switch {
	case v.end >= 0 && t.at.Offset < v.end:
		return verdict{action: retry, why: fmt.Sprintf("the body ended after %d of %d bytes", t.at.Offset, v.end)}
	case t.at.Total >= 0 && t.at.Offset < t.at.Total:
		return verdict{action: retry, why: "the server sent a part of what was asked for"}
	case t.at.Offset == 0:
		return verdict{action: retry, why: "the file is empty"}
	case v.open && t.at.Total < 0:
		return verdict{action: retry, why: "the connection ended, which may not be the end of the file"}
	}
	t.at.Total = t.at.Offset
	return v
}

// sameOverlap compares what is asked for again with what is stored.
func (t *transfer) sameOverlap(a ask, body io.Reader) (bool, error) {
	got, have := make([]byte, a.Offset-a.From), make([]byte, a.Offset-a.From)
	if _, err := io.ReadFull(body, got); err != nil {
		return false, fmt.Errorf("overlap: %w", err)
	}
	if _, err := t.part.ReadAt(have, a.From); err != nil {
		return false, nil // not readable: not the same
	}
	return string(got) == string(have), nil
}

// interrupted is the verdict on an error of the transport.
func interrupted(ctx context.Context, err error) verdict {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return verdict{action: retry, why: "interrupted", err: err}
}
