package local

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// publishPath is the call that publishes.
const publishPath = "/v1/publish"

// maxPublication bounds the body of a publish, in bytes: a payload of the
// largest packet in base64, and what goes with it.
const maxPublication = 512 << 10

// A Publication is the body of POST /v1/publish.
type Publication struct {
	Topic  string `json:"topic"`            // see Topic
	QoS    *byte  `json:"qos,omitempty"`    // 0 or 1; 1 if missing
	Retain bool   `json:"retain,omitempty"` // the broker keeps it for later subscribers
	// Keep says what waits while there is no session, at QoS 1: all, the latest
	// message of the topic alone, or none; all if empty.
	Keep    string  `json:"keep,omitempty"`
	Payload *string `json:"payload,omitempty"` // text; or
	Base64  *string `json:"payload_base64,omitempty"`
}

// Level is the QoS, 1 if the publication does not say it.
func (p Publication) Level() byte {
	if p.QoS == nil {
		return 1
	}
	return *p.QoS
}

// Bytes is the payload.
func (p Publication) Bytes() ([]byte, error) {
	switch {
	case p.Payload != nil && p.Base64 != nil:
		return nil, errors.New("payload and payload_base64 are both there")
	case p.Payload != nil:
		return []byte(*p.Payload), nil
	case p.Base64 != nil:
		b, err := base64.StdEncoding.DecodeString(*p.Base64)
		if err != nil {
			return nil, errors.New("payload_base64 is not base64")
		}
		return b, nil
	}
	return nil, nil
}

// check reports what is wrong with p by itself.
func (p Publication) check() error {
	_, err := p.Bytes()
	switch {
	case err != nil:
		return Errorf(Invalid, "%v", err)
	case p.Level() > 1:
		return Errorf(Invalid, "qos %d: 0 or 1", p.Level())
	case p.Keep != "" && p.Keep != KeepAll && p.Keep != KeepLatest && p.Keep != KeepNone:
		return Errorf(Invalid, "keep %q: %s, %s or %s", shorten(p.Keep), KeepAll, KeepLatest, KeepNone)
	}
	return nil
}

// The values of Publication.Keep.
const (
	KeepAll    = "all"
	KeepLatest = "latest"
	KeepNone   = "none" // taken once the broker has it
)

// Waits reports whether the publication is kept while it cannot be sent.
func (p Publication) Waits() bool { return p.Level() > 0 && p.Keep != KeepNone }

// publish answers once the message is durable, or handed over where it does not
// wait.
func (c *calls) publish(w http.ResponseWriter, r *http.Request, p peer) error {
	if c.Publish == nil {
		return Errorf(NotFound, "nothing is published here")
	}
	if !c.publishing.allow(p.uid, time.Now()) {
		return Errorf(Busy, "uid %d publishes more than %d times a second", p.uid, publishPerSecond)
	}
	var m Publication
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPublication))
	dec.DisallowUnknownFields()
	var large *http.MaxBytesError
	err := dec.Decode(&m)
	switch {
	case errors.As(err, &large):
		return Errorf(TooLarge, "more than the %d bytes that a message may have here", large.Limit)
	case err != nil:
		return Errorf(Invalid, "body: %v", err)
	case dec.More():
		return Errorf(Invalid, "body: something follows the message")
	}
	if err := m.check(); err != nil {
		return err
	}
	if err := c.Publish(r.Context(), m); err != nil {
		return err
	}
	c.answer(w, http.StatusAccepted, struct{}{})
	return nil
}
