package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// A stream writes server-sent events, many at a time.
type stream struct {
	w     http.ResponseWriter
	ctl   *http.ResponseController
	buf   bytes.Buffer
	wrote time.Time
	parts map[string][sha256.Size]byte // of the state, as they were sent
}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, ctl: http.NewResponseController(w), wrote: time.Now(), parts: map[string][sha256.Size]byte{}}
}

// retry says how long the page waits before it connects again.
func (s *stream) retry(d time.Duration) { fmt.Fprintf(&s.buf, "retry: %d\n", d.Milliseconds()) }

// send adds an event; one with an id is where the page goes on after a break.
func (s *stream) send(kind, id string, v any) {
	text, err := json.Marshal(v) // in one line, whatever a device has said
	if err != nil {
		panic(fmt.Sprintf("console: %s: %v", kind, err)) // of our own types
	}
	s.write(kind, id, text)
}

func (s *stream) write(kind, id string, text []byte) {
	if id != "" {
		fmt.Fprintf(&s.buf, "id: %s\n", id)
	}
	fmt.Fprintf(&s.buf, "event: %s\ndata: %s\n\n", kind, text)
}

// state adds the parts that are not as they were sent last, and before them
// what the cloud's clock says.
func (s *stream) state(parts map[string]any) {
	now := parts["now"]
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if name == "now" {
			continue
		}
		text, err := json.Marshal(parts[name])
		if err != nil {
			panic(fmt.Sprintf("console: %s: %v", name, err))
		}
		sum := sha256.Sum256(text)
		if s.parts[name] == sum {
			continue
		}
		if now != nil {
			s.send("now", "", now)
			now = nil
		}
		s.parts[name] = sum
		s.write(name, "", text)
	}
}

// flush writes what was added. When that was nothing for long it writes a
// comment, so that neither side takes the other for gone.
func (s *stream) flush() error {
	if s.buf.Len() == 0 {
		if time.Since(s.wrote) < beat {
			return nil
		}
		s.buf.WriteString(": still here\n\n")
	}
	_ = s.ctl.SetWriteDeadline(time.Now().Add(patience)) // where the connection has one
	_, err := s.w.Write(s.buf.Bytes())
	s.buf.Reset()
	s.wrote = time.Now()
	if err != nil {
		return err
	}
	return s.ctl.Flush()
}
