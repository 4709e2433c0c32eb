package outbox

import (
	"errors"
	"io"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// compact writes a sealed segment anew with what waits in it. The caller holds
// turn.
func (o *Outbox) compact(s *segment) error {
	src, err := o.fs().Open(o.path(s.name))
	if err != nil {
		return err
	}
	defer src.Close()
	o.mu.Lock()
	sc := scanner{src: src, salt: s.salt, end: s.size}
	o.mu.Unlock()
	var body []byte
	var mark uint64
	for {
		r, err := sc.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if r.kind != kindMessage {
			mark = max(mark, r.number)
			continue
		}
		if !o.superseded(r) {
			body = appendMessage(body, s.salt, r.number, r.entry().Message, r.at)
		}
	}
	data := append(appendHead(nil, s.salt, mark), body...)
	if err := atomicfile.WriteFS(o.fs(), o.path(s.name), data, 0o600); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.size = int64(len(data))
	s.version++ // the reader begins it again and passes over what it has read
	o.stat.WrittenBytes += int64(len(data))
	return nil
}

// superseded reports whether a newer message of the topic makes r needless.
func (o *Outbox) superseded(r record) bool {
	if r.flags&flagLatest == 0 {
		return false
	}
	key := o.key(string(r.topic))
	o.mu.Lock()
	defer o.mu.Unlock()
	p, known := o.latest[key]
	return known && r.number >= p.since && r.number < p.seq
}
