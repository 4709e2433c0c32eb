// Package api makes the calls of Spoke Zone's HTTP API that a device may make:
// one attempt a call, typed errors, no retries.
//
// The access token travels in the x-access-token header, and never to another
// host: net/http copies headers of its own invention to wherever a redirect
// points, so a Client judges every redirect itself (redirect.go).
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// maxToken bounds the access tokens that are sent and adopted, in bytes.
const maxToken = 64 << 10

// tokenHeader carries the access token of every call but LoginDevice.
const tokenHeader = "X-Access-Token"

// A Client calls the API at Base. Its fields are set before its first call; it
// is safe for concurrent use.
type Client struct {
	// Base is the root of the API, such as https://api.spoke.zone.
	Base *url.URL
	// HTTP does the requests, with the redirect rules of this package whatever
	// its own are. NewHTTPClient makes one that suits.
	HTTP *http.Client
	// Token returns the access token of a call. Its error fails the call.
	Token func(ctx context.Context) (string, error)
	// OnDate, if not nil, is told the Date of each answer that Base gave over
	// verified TLS, whatever its status. The date is at most rtt old.
	OnDate func(date time.Time, rtt time.Duration)
	// UserAgent names the program and its version: "spoke-zone-agent/1.2.3".
	UserAgent string
	// Timeout bounds a whole call that is answered in JSON, and the wait for
	// the header of OTAContent. It is a minute if zero.
	Timeout time.Duration
}

// An Identity is what a device logs in with. It does not print its token.
type Identity struct{ Token, CPUID, UUID string }

// String names the device without its token.
func (id Identity) String() string {
	return fmt.Sprintf("cpu_id=%s uuid=%s token=[redacted]", id.CPUID, id.UUID)
}

// GoString is String, for %#v.
func (id Identity) GoString() string { return id.String() }

// LogValue is String, for slog.
func (id Identity) LogValue() slog.Value { return slog.StringValue(id.String()) }

// A call is one request.
type call struct {
	method string
	path   []string // elements below Base, escaped
	query  url.Values
	header http.Header
	body   io.Reader
	size   int64 // of body; 0 lets net/http find it out

	login  bool     // goes without the access token
	policy policy   // what may be done with a redirect
	secret []string // what no error may repeat
}

// do sends k and returns the answer, whatever its status; only a redirect that
// was not followed is an error. The caller closes the body.
func (c *Client) do(ctx context.Context, k *call) (*http.Response, error) {
	u := c.at(k)
	u.RawQuery = k.query.Encode()
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), k.body)
	if err != nil {
		closeBody(k.body)
		return nil, &callError{method: k.method, path: u.Path, err: errors.New("request cannot be made")}
	}
	if k.size > 0 {
		req.ContentLength = k.size
	}
	if err := c.setHeader(ctx, req, k); err != nil {
		closeBody(k.body)
		return nil, &callError{method: k.method, path: u.Path, err: err}
	}
	var refused string
	hc := *c.HTTP
	hc.CheckRedirect = k.policy.check(&refused)
	start := time.Now()
	res, err := hc.Do(req)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err // the URL that it repeats may be a signed one
		}
		return nil, &callError{method: k.method, path: u.Path, err: err, secret: k.secret}
	}
	c.learnDate(res, time.Since(start))
	if redirected(res.StatusCode) {
		defer res.Body.Close()
		return nil, redirectError(k, res, refused)
	}
	return res, nil
}

func (c *Client) setHeader(ctx context.Context, req *http.Request, k *call) error {
	for name, values := range k.header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	req.Header.Set("User-Agent", "spoke-zone-agent")
	if c.UserAgent != "" {
		req.Header.Set("User-Agent", c.UserAgent)
	}
	req.Header.Del(tokenHeader)
	if k.login {
		return nil
	}
	token, err := c.Token(ctx)
	if err != nil {
		return fmt.Errorf("access token: %w", err)
	}
	if !visible(token) || len(token) > maxToken {
		return errors.New("access token: not one that a header can carry")
	}
	k.secret = append(k.secret, token)
	req.Header.Set(tokenHeader, token)
	return nil
}

// learnDate passes on the time in res when nobody but Base can have written it.
func (c *Client) learnDate(res *http.Response, rtt time.Duration) {
	if c.OnDate == nil || res.TLS == nil || len(res.TLS.VerifiedChains) == 0 || !sameOrigin(res.Request.URL, c.Base) {
		return
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		c.OnDate(date, rtt)
	}
}

// json sends k with v as its body, if not nil, and returns the status and body
// of a 2xx answer of at most limit bytes.
func (c *Client) json(ctx context.Context, k *call, v any, limit int64) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	if k.header == nil {
		k.header = http.Header{}
	}
	k.header.Set("Accept", "application/json")
	if v != nil {
		body, err := json.Marshal(v)
		if err != nil {
			return 0, nil, err
		}
		k.body = bytes.NewReader(body)
		k.header.Set("Content-Type", "application/json")
	}
	res, err := c.do(ctx, k)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	return readAnswer(res, k, limit)
}

// readAnswer returns the body of a 2xx answer and a *StatusError for the rest.
func readAnswer(res *http.Response, k *call, limit int64) (int, []byte, error) {
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return res.StatusCode, nil, statusError(res, k)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		err = fmt.Errorf("read answer: %w", err)
	case int64(len(body)) > limit:
		err = fmt.Errorf("answer larger than %d bytes", limit)
	default:
		return res.StatusCode, body, nil
	}
	return res.StatusCode, nil, &callError{method: k.method, path: requestPath(res), err: err, secret: k.secret}
}

// malformed is the error of an answer that is not what the API promises.
func (c *Client) malformed(k *call, why error) error {
	return &callError{method: k.method, path: c.at(k).Path, err: why, secret: k.secret}
}

// at returns where k goes.
func (c *Client) at(k *call) *url.URL {
	base := *c.Base
	if base.Path == "" {
		base.Path = "/" // or JoinPath would leave the result without one
	}
	return base.JoinPath(k.path...)
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return time.Minute
}

func closeBody(r io.Reader) {
	if rc, ok := r.(io.Closer); ok {
		_ = rc.Close()
	}
}
