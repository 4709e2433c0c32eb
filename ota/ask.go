package ota

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// overlap is how many stored bytes are asked for again, to be compared, when
// nothing else tells whether the server still has the same file.
const overlap = 64 << 10

// A validator is what tells one state of a file from another: a strong entity
// tag, else a date of last modification that is as good. Both are as the server
// wrote them. The zero validator is none.
type validator struct {
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"last_modified,omitempty"`
}

// clean returns v without what is not a strong entity tag or a date.
func (v validator) clean() validator {
	if !strongTag(v.ETag) {
		v.ETag = ""
	}
	if _, err := http.ParseTime(v.Modified); err != nil || len(v.Modified) > 64 || v.ETag != "" {
		v.Modified = ""
	}
	return v
}

// strongTag tells an entity tag of RFC 9110, 8.8.3, that is strong and not so
// long that it cannot be kept.
func strongTag(s string) bool {
	if len(s) < 2 || len(s) > 200 || s[0] != '"' || s[len(s)-1] != '"' {
		return false
	}
	return !strings.ContainsFunc(s[1:len(s)-1], func(r rune) bool { return r <= ' ' || r == '"' || r >= 0x7f })
}

// validatorOf returns the validator that RFC 9110, 13.1.5, allows in If-Range. A
// date counts only if there is no entity tag at all and the reply was made at
// least a minute after it (8.8.2.2): within that time the file may have changed
// again without a new date, or two clocks may disagree.
func validatorOf(h http.Header) validator {
	if tag := h.Get("ETag"); tag != "" {
		return validator{ETag: tag}.clean()
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	date, derr := http.ParseTime(h.Get("Date"))
	if err != nil || derr != nil || date.Sub(modified) < time.Minute {
		return validator{}
	}
	return validator{Modified: h.Get("Last-Modified")}.clean()
}

// An ask is one request for a release, or for the rest of it.
type ask struct {
	Offset  int64 // bytes that are stored
	From    int64 // first byte asked for: Offset, or less to compare an overlap
	Ranged  bool
	Total   int64 // length of the file as far as known; -1 unknown
	MaxSize int64
	Mark    validator // of the stored bytes
	URLKey  string    // of where the stored bytes came from
}

// newAsk decides how to go on from c. Without a validator, or when compare is
// set, the last stored bytes are asked for again.
func newAsk(c checkpoint, noRange, compare bool, maxSize int64) ask {
	a := ask{Offset: c.Offset, From: c.Offset, Total: c.Total, MaxSize: maxSize, Mark: c.Mark, URLKey: c.URLKey}
	a.Ranged = a.Offset > 0 && !noRange
	if a.Ranged && (compare || a.Mark == validator{}) {
		a.From = max(0, a.Offset-overlap)
	}
	return a
}

// header returns the request's header.
func (a ask) header() http.Header {
	h := http.Header{"Accept-Encoding": {"identity"}}
	if a.Ranged {
		h.Set("Range", fmt.Sprintf("bytes=%d-", a.From))
		if mark := a.Mark.ETag + a.Mark.Modified; mark != "" && a.From == a.Offset {
			h.Set("If-Range", mark)
		}
	}
	return h
}
