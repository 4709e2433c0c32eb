package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

func (c *calls) status(w http.ResponseWriter, r *http.Request, _ peer) error {
	if c.Status == nil {
		return Errorf(NotFound, "there is no status")
	}
	switch r.URL.Query().Get("watch") {
	case "", "0":
		line, err := c.statusLine()
		if err != nil {
			return err
		}
		c.begin(w, "application/json")
		return c.write(w, line)
	case "1":
		return c.watch(w, r)
	}
	return Errorf(Invalid, "watch is 0 or 1")
}

// watch writes the status in force, then each change, until the peer leaves or
// the agent stops.
func (c *calls) watch(w http.ResponseWriter, r *http.Request) error {
	var last []byte
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		line, err := c.statusLine()
		if err != nil {
			return err
		}
		if !bytes.Equal(line, last) {
			if last == nil {
				c.begin(w, ndjson)
			}
			if c.write(w, line) != nil {
				return nil // the peer has left
			}
			last = line
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *calls) statusLine() ([]byte, error) {
	s := c.Status()
	s.tidy()
	return jsonLine(s)
}

func (c *calls) ota(w http.ResponseWriter, _ *http.Request, _ peer) error {
	if c.Status == nil {
		return Errorf(NotFound, "there is no status")
	}
	s := c.Status()
	s.tidy()
	line, err := jsonLine(s.OTA)
	if err != nil {
		return err
	}
	c.begin(w, "application/json")
	return c.write(w, line)
}

func (c *calls) check(w http.ResponseWriter, r *http.Request, _ peer) error {
	return c.follow(w, r, c.Check)
}

func (c *calls) fetch(w http.ResponseWriter, r *http.Request, _ peer) error {
	return c.follow(w, r, c.Fetch)
}

func (c *calls) install(w http.ResponseWriter, r *http.Request, _ peer) error {
	now := r.URL.Query().Get("now")
	if now != "" && now != "0" && now != "1" {
		return Errorf(Invalid, "now is 0 or 1")
	}
	if c.Install == nil {
		return c.follow(w, r, nil)
	}
	return c.follow(w, r, func(ctx context.Context, module string) error { return c.Install(ctx, module, now == "1") })
}

func (c *calls) rollback(w http.ResponseWriter, r *http.Request, _ peer) error {
	return c.follow(w, r, c.Rollback)
}

// follow does act on the module of the request and tells how far it is: each
// change of the module's status is a line, the last one says that it is done.
func (c *calls) follow(w http.ResponseWriter, r *http.Request, act func(ctx context.Context, module string) error) error {
	name, err := pathName(r, "module")
	if err != nil {
		return err
	}
	if _, ok := c.module(name); !ok || act == nil {
		return Errorf(NotFound, "there is no module %q in the settings", name)
	}
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	var g errgroup.Group
	g.Go(func() error { done <- act(ctx, name); return nil })
	defer func() { cancel(); _ = g.Wait() }() // a peer that leaves stops what it began

	c.begin(w, ndjson)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last Module
	for {
		m, _ := c.module(name)
		if m != last {
			if c.progress(w, Progress{Module: m}) != nil {
				return nil // the peer has left
			}
			last = m
		}
		select {
		case err := <-done:
			p := Progress{Done: true}
			p.Module, _ = c.module(name)
			if err != nil {
				p.Failed = asError(err)
			}
			if err := c.progress(w, p); err != nil {
				c.Log.Debug("local answer not written", "err", err)
			}
			return nil
		case <-tick.C:
		}
	}
}

func (c *calls) progress(w http.ResponseWriter, p Progress) error {
	line, err := jsonLine(p)
	if err != nil {
		return err
	}
	return c.write(w, line)
}

// module is the status of the module called name; its Module is set even if
// there is none.
func (c *calls) module(name string) (Module, bool) {
	if c.Status == nil {
		return Module{Module: name}, false
	}
	for _, m := range c.Status().OTA {
		if m.Module == name {
			return m.tidy(), true
		}
	}
	return Module{Module: name}, false
}

const ndjson = "application/x-ndjson"

func (c *calls) begin(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// write sends line on its way at once. The peer has 30 s to take it.
func (c *calls) write(w http.ResponseWriter, line []byte) error {
	control := http.NewResponseController(w)
	c.deadline(control.SetWriteDeadline)
	_, err := w.Write(line)
	return errors.Join(err, control.Flush())
}

// jsonLine is v as one line of JSON, in which nothing looks like a token.
func jsonLine(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(scrub(b), '\n'), nil
}
