package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A StatusError is an answer other than the one hoped for.
type StatusError struct {
	Method, Path string
	Status       int
	Types        []string      // of the errors in the body, such as "invalid-field"
	Message      string        // what the body says, one line without secrets
	Target       string        // scheme and host that a redirect points to
	Wait         time.Duration // from Retry-After; zero if the server named none
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: %d", e.Method, e.Path, e.Status)
	if name := http.StatusText(e.Status); name != "" {
		text += " " + name
	}
	if e.Target != "" {
		text += " to " + e.Target
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// HTTPStatus returns the status code.
func (e *StatusError) HTTPStatus() int { return e.Status }

// RetryAfter returns how long the server asks to be left alone; zero if it
// does not say.
func (e *StatusError) RetryAfter() time.Duration { return e.Wait }

// Has reports whether the body named an error of type typ.
func (e *StatusError) Has(typ string) bool {
	for _, t := range e.Types {
		if t == typ {
			return true
		}
	}
	return false
}

// A callError is a call that got no answer, or none that can be understood.
type callError struct {
	method, path string
	err          error
	secret       []string
}

func (e *callError) Error() string {
	return e.method + " " + e.path + ": " + clean(e.err.Error(), 2*maxMessage, e.secret)
}

func (e *callError) Unwrap() error { return e.err }

// maxErrorBody bounds what is read of the body of a refusal, in bytes.
const maxErrorBody = 64 << 10

func statusError(res *http.Response, k *call) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody)) // half a body is better than none
	types, message := decodeErrorBody(body, k.secret)
	return &StatusError{
		Method: k.method, Path: requestPath(res), Status: res.StatusCode,
		Types: types, Message: message, Wait: retryAfter(res.Header, time.Now()),
	}
}

func redirectError(k *call, res *http.Response, refused string) error {
	e := &StatusError{Method: k.method, Path: requestPath(res), Status: res.StatusCode, Message: "not followed"}
	if refused != "" {
		e.Message += ": " + refused
	}
	// The query may be a signature, the path a name: the host says enough.
	if to, err := res.Location(); err == nil {
		e.Target = clean((&url.URL{Scheme: to.Scheme, Host: to.Host}).String(), maxMessage, nil)
	}
	return e
}

func requestPath(res *http.Response) string { return clean(res.Request.URL.Path, maxMessage, nil) }

// decodeErrorBody returns the types of the errors that body reports and what
// it says to a person. Any body will do; secrets are not repeated.
func decodeErrorBody(body []byte, secret []string) (types []string, message string) {
	if looksHTML(body) {
		return nil, "an HTML page"
	}
	var v2 struct {
		Errors  []json.RawMessage
		Message any
		Error   any
	}
	if json.Unmarshal(body, &v2) != nil {
		return nil, clean(string(body), maxMessage, secret)
	}
	var said []string
	for _, raw := range v2.Errors[:min(len(v2.Errors), 8)] {
		var e struct{ Type, Message any }
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		typ, _ := e.Type.(string)
		if typ = clean(typ, 64, secret); typ != "" {
			types = append(types, typ)
		}
		text, _ := e.Message.(string)
		if text = strings.Trim(typ+": "+text, ": "); text != "" {
			said = append(said, text)
		}
	}
	if len(said) == 0 {
		for _, v := range []any{v2.Message, v2.Error} {
			if text, ok := v.(string); ok && text != "" {
				said = append(said, text)
			}
		}
	}
	if len(said) == 0 {
		said = append(said, string(body))
	}
	return types, clean(strings.Join(said, "; "), maxMessage, secret)
}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads both forms of Retry-After (RFC 9110, section 10.2.3) and,
// without it, X-RateLimit-Reset in both of its dialects: seconds from now, or
// since 1970. A date is compared with the answer's own Date, so that our clock
// does not matter; with now if it has none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	if at, err := http.ParseTime(strings.TrimSpace(h.Get("Retry-After"))); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	for _, name := range []string{"Retry-After", "X-RateLimit-Reset"} {
		secs, err := strconv.ParseUint(strings.TrimSpace(h.Get(name)), 10, 32)
		switch {
		case err != nil:
		case secs > aYear: // since 1970
			return min(max(time.Unix(int64(secs), 0).Sub(now), 0), maxRetryAfter)
		default:
			return min(time.Duration(secs)*time.Second, maxRetryAfter)
		}
	}
	return 0
}

// aYear in seconds tells an interval from a time since 1970.
const aYear = 366 * 24 * 3600
