package ota

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An action is what a reply calls for.
type action uint8

const (
	retry    action = iota // ask again later; a try that counts
	wait                   // ask again later; the server said so, and it does not count
	proceed                // store the body from From on, after comparing the overlap
	rewrite                // store the body from the start
	restart                // the file has changed: drop what is stored and ask for all of it
	compare                // ask again with an overlap
	complete               // what is stored is the whole file
	relist                 // ask the catalogue whether the release is still there
	refuse                 // give up until the listing changes
)

// A verdict is an action and what it needs.
type verdict struct {
	action action
	total  int64 // of the file; -1 unknown
	end    int64 // where the body must end; -1 unknown
	mark   validator
	urlKey string
	open   bool          // the end of the body proves nothing
	after  time.Duration // for wait: how long; 0 if the server did not say
	why    string        // a sentence for people, unless the body is taken
	err    error         // its cause, if there is one
	idle   bool          // of wait: it is no time of trying

	forever bool // of refuse: whatever the listing says
}

// decide is what to do with the status and header of r, given what was asked
// for. It looks at nothing else.
func decide(a ask, r Response, now time.Time) verdict {
	switch s := r.Status; {
	case s == http.StatusOK, s == http.StatusPartialContent:
		if why := unfit(r.Header); why != "" {
			return verdict{action: retry, why: why}
		}
		if s == http.StatusOK {
			return whole(a, r)
		}
		return partial(a, r)
	case s == http.StatusRequestedRangeNotSatisfiable:
		_, _, total, ok := contentRange(r.Header.Get("Content-Range"))
		if ok && total == a.Offset && a.Offset > 0 && a.From == a.Offset {
			return verdict{action: complete, total: total}
		}
		return verdict{action: restart, why: "the server has no such range"}
	case s == http.StatusUnauthorized:
		return verdict{action: wait, why: "the token is refused (401)"}
	case s == http.StatusForbidden, s == http.StatusNotFound, s == http.StatusGone:
		return verdict{action: relist, why: fmt.Sprintf("the file is not to be had (%d)", s)}
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		return verdict{action: wait, after: retryAfter(r.Header, now), why: fmt.Sprintf("the server asks to wait (%d)", s)}
	case s >= 500, s < 400, s == http.StatusRequestTimeout:
		return verdict{action: retry, why: fmt.Sprintf("the server answers %d", s)}
	default:
		return verdict{action: refuse, why: fmt.Sprintf("the server refuses the file (%d)", s)}
	}
}

// unfit says why the body is not the file, "" if it may be.
func unfit(h http.Header) string {
	for _, list := range h.Values("Content-Encoding") {
		for _, coding := range strings.Split(list, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				return fmt.Sprintf("the body is encoded as %s although plain bytes were asked for", quote(coding))
			}
		}
	}
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if kind == "text/html" || kind == "application/xhtml+xml" {
		return "a web page came instead of the file: a proxy or a sign-in page stands between"
	}
	return ""
}

func whole(a ask, r Response) verdict {
	v := verdict{action: rewrite, total: -1, end: -1, mark: validatorOf(r.Header), urlKey: urlKey(r.URL), open: r.ToClose}
	if s := r.Header.Get("Content-Length"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return verdict{action: retry, why: "the length of the body is not a number"}
		}
		v.total, v.end, v.open = n, n, false
	}
	if v.total == 0 {
		return verdict{action: retry, why: "the file is empty"}
	}
	return limit(a, v)
}

func partial(a ask, r Response) verdict {
	first, last, total, ok := contentRange(r.Header.Get("Content-Range"))
	mark := validatorOf(r.Header)
	v := verdict{action: proceed, total: total, end: last + 1, mark: a.Mark, urlKey: urlKey(r.URL)}
	switch {
	case !ok || last < 0:
		return verdict{action: restart, why: "the server does not say which part it sends"}
	case first != a.From:
		return verdict{action: restart, why: fmt.Sprintf("the server sends from byte %d, not %d", first, a.From)}
	case a.Total >= 0 && total >= 0 && total != a.Total:
		return verdict{action: restart, why: fmt.Sprintf("the file has %d bytes now, not %d", total, a.Total)}
	case a.Total >= 0 && last >= a.Total:
		return verdict{action: restart, why: "the server sends more than the file has"}
	case a.Mark.ETag != "" && r.Header.Get("ETag") != "" && r.Header.Get("ETag") != a.Mark.ETag,
		a.Mark.Modified != "" && r.Header.Get("Last-Modified") != "" && r.Header.Get("Last-Modified") != a.Mark.Modified:
		return verdict{action: restart, why: "the file has changed"}
	case !a.Ranged && a.Offset > 0:
		return verdict{action: restart, why: "a part came although the whole was asked for"}
	case a.From == a.Offset && a.Offset > 0 && v.urlKey != a.URLKey:
		return verdict{action: compare, why: "the file comes from another place now"}
	}
	if total < 0 {
		v.total = a.Total
	}
	if a.Mark == (validator{}) {
		v.mark = mark
	}
	return limit(a, v)
}

func limit(a ask, v verdict) verdict {
	if v.total > a.MaxSize {
		return verdict{action: refuse, why: fmt.Sprintf("the file has %s (at most %s)", Bytes(v.total), Bytes(a.MaxSize))}
	}
	return v
}

// contentRange reads "bytes 5-9/10", "bytes 5-9/*" and "bytes */10" (RFC 9110,
// 14.4). What is not given is -1.
func contentRange(s string) (first, last, total int64, ok bool) {
	unit, s, _ := strings.Cut(s, " ")
	span, size, cut := strings.Cut(s, "/")
	if !strings.EqualFold(unit, "bytes") || !cut {
		return -1, -1, -1, false
	}
	first, last, total = -1, -1, -1
	if size != "*" {
		if total, ok = number63(size); !ok {
			return -1, -1, -1, false
		}
	}
	if span == "*" {
		return first, last, total, total >= 0
	}
	from, to, _ := strings.Cut(span, "-")
	first, ok = number63(from)
	last, ok2 := number63(to)
	if !ok || !ok2 || first > last || total >= 0 && last >= total {
		return -1, -1, -1, false
	}
	return first, last, total, true
}

func number63(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 62) // so that one more does not overflow
	return int64(n), err == nil
}

// urlKey tells places apart without keeping what a signed address may hold in
// its query.
func urlKey(address string) string {
	if u, err := url.Parse(address); err == nil {
		address = u.Host + u.EscapedPath()
	}
	sum := sha256.Sum256([]byte(address))
	return hex.EncodeToString(sum[:8])
}
