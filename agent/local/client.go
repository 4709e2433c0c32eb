package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// ErrNotRunning means that no agent answers at the socket.
var ErrNotRunning = errors.New("no agent answers")

// maxLine bounds a line of an answer, in bytes.
const maxLine = 1 << 20

// A Client asks the agent at a socket. Its errors are ErrNotRunning, an *Error
// that the agent answered, or a conversation that broke.
type Client struct {
	Socket string // path

	dial func(ctx context.Context) (net.Conn, error) // to Socket, if nil
}

// Status asks for the status.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.get(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Watch calls f with the status in force and then with each change, until ctx
// is done (then it returns nil), f fails, or the agent ends.
func (c *Client) Watch(ctx context.Context, f func(Status) error) error {
	return c.lines(ctx, http.MethodGet, "/v1/status?watch=1", func(line []byte) error {
		var s Status
		if err := json.Unmarshal(line, &s); err != nil {
			return fmt.Errorf("status of the agent: %w", err)
		}
		return f(s)
	})
}

// Token asks for a token of the account that is valid for min at least.
func (c *Client) Token(ctx context.Context, account string, min time.Duration) (t TokenAnswer, err error) {
	path := "/v1/accounts/" + url.PathEscape(account) + "/token?min_validity=" + url.QueryEscape(min.String())
	err = c.get(ctx, http.MethodGet, path, nil, &t)
	return t, err
}

// Renew has the account's token renewed now.
func (c *Client) Renew(ctx context.Context, account string) error {
	return c.get(ctx, http.MethodPost, "/v1/accounts/"+url.PathEscape(account)+"/renew", nil, nil)
}

// Adopt has the account's token replaced by one that the cloud accepts.
func (c *Client) Adopt(ctx context.Context, account, token string) error {
	b, err := json.Marshal(Adoption{token})
	if err != nil {
		return err
	}
	return c.get(ctx, http.MethodPost, "/v1/accounts/"+url.PathEscape(account)+"/adopt", &body{bytes.NewReader(b), int64(len(b))}, nil)
}

// OTA asks for the status of the modules.
func (c *Client) OTA(ctx context.Context) (ms []Module, err error) {
	err = c.get(ctx, http.MethodGet, "/v1/ota", nil, &ms)
	return ms, err
}

// Check has the cloud asked for the module's offer, and returns the module's
// status then.
func (c *Client) Check(ctx context.Context, module string) (Module, error) {
	return c.follow(ctx, module, "check", func(Module) {})
}

// Fetch gets the module's offer. It calls progress with each change of the
// module's status, and returns the last one.
func (c *Client) Fetch(ctx context.Context, module string, progress func(Module)) (Module, error) {
	return c.follow(ctx, module, "fetch", progress)
}

// Install gives a person's word that the module's offer be installed: when the
// rules allow, or now.
func (c *Client) Install(ctx context.Context, module string, now bool) (Module, error) {
	verb := "install"
	if now {
		verb += "?now=1"
	}
	return c.follow(ctx, module, verb, func(Module) {})
}

// Rollback gives up the module's update, which is not permanent yet.
func (c *Client) Rollback(ctx context.Context, module string) (Module, error) {
	return c.follow(ctx, module, "rollback", func(Module) {})
}

func (c *Client) follow(ctx context.Context, module, verb string, progress func(Module)) (Module, error) {
	var last Progress
	err := c.lines(ctx, http.MethodPost, "/v1/ota/"+url.PathEscape(module)+"/"+verb, func(line []byte) error {
		last = Progress{}
		if err := json.Unmarshal(line, &last); err != nil {
			return fmt.Errorf("progress of the agent: %w", err)
		}
		progress(last.Module)
		return nil
	})
	switch {
	case err != nil:
		return last.Module, err
	case last.Failed != nil:
		return last.Module, last.Failed
	case !last.Done:
		if err := ctx.Err(); err != nil {
			return last.Module, err
		}
		return last.Module, fmt.Errorf("%w any more: it ended meanwhile", ErrNotRunning)
	}
	return last.Module, nil
}

// Upload hands a data file of size bytes over; a size below zero is unknown.
func (c *Client) Upload(ctx context.Context, typ, module, name string, size int64, r io.Reader) (it Item, err error) {
	q := url.Values{"type": {typ}, "name": {name}}
	if module != "" {
		q.Set("module", module)
	}
	err = c.get(ctx, http.MethodPost, dataFiles+"?"+q.Encode(), &body{r, size}, &it)
	return it, err
}

// Publish has a message published. Once it returns nil the message is durable,
// or at QoS 0 handed to the broker.
func (c *Client) Publish(ctx context.Context, m Publication) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.get(ctx, http.MethodPost, publishPath, &body{bytes.NewReader(b), int64(len(b))}, nil)
}

// Subscribe calls f with the messages of the broker that match filter, until
// ctx is done (then it returns nil), f fails, or the agent ends.
func (c *Client) Subscribe(ctx context.Context, filter string, f func(Message) error) error {
	return c.lines(ctx, http.MethodGet, subscribePath+"?"+url.Values{"filter": {filter}}.Encode(), func(line []byte) error {
		var m Message
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("message of the agent: %w", err)
		}
		return f(m)
	})
}

// PID is the process id of the agent, by the word of the kernel.
func (c *Client) PID(ctx context.Context) (int, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	p, err := peerOf(conn)
	if err != nil {
		return 0, fmt.Errorf("process id of the agent: %w", err)
	}
	return p.pid, nil
}

type body struct {
	io.Reader
	size int64
}

// get does one call and decodes its answer into v, unless v is nil.
func (c *Client) get(ctx context.Context, method, path string, b *body, v any) error {
	resp, end, err := c.do(ctx, method, path, b)
	if err != nil {
		return err
	}
	defer end()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxLine)).Decode(v); err != nil {
		return fmt.Errorf("answer of the agent to %s: %w", path, err)
	}
	return nil
}

// lines does one call and gives f each line of its answer. It returns nil when
// the answer ends or ctx is done.
func (c *Client) lines(ctx context.Context, method, path string, f func([]byte) error) error {
	resp, end, err := c.do(ctx, method, path, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer end()
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, maxLine)
	for sc.Scan() {
		if err := f(sc.Bytes()); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("answer of the agent to %s: %w", path, err)
	}
	return nil
}

// do returns an answer of success; call end when it has been read.
func (c *Client) do(ctx context.Context, method, path string, b *body) (*http.Response, func(), error) {
	var r io.Reader
	if b != nil {
		r = b.Reader
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+Host+path, r)
	if err != nil {
		return nil, nil, err
	}
	if b != nil {
		req.ContentLength = b.size
		req.Header.Set("Expect", "100-continue") // a refusal must not meet a body on its way
	}
	tr := &http.Transport{
		DisableKeepAlives:     true,
		ExpectContinueTimeout: time.Minute,
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return c.connect(ctx) },
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	end := func() { _ = resp.Body.Close() } // nothing is lost: it was only read
	if resp.StatusCode < 300 {
		return resp, end, nil
	}
	defer end()
	var e Error
	if json.NewDecoder(io.LimitReader(resp.Body, maxLine)).Decode(&e) != nil || statusOf[e.Code] == 0 {
		return nil, nil, fmt.Errorf("answer of the agent to %s %s: %s", method, path, resp.Status)
	}
	return nil, nil, &e
}

func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	dial := c.dial
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.Socket)
		}
	}
	conn, err := dial(ctx)
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrNotRunning, c.Socket, cause(err))
	}
	return conn, err
}

// cause is what the system said, without the path again.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
