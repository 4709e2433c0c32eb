package outbox

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

// FuzzSegment reads any bytes as a segment: what is found is what would be
// written, in order, and an outbox opens over it.
func FuzzSegment(f *testing.F) {
	whole := appendHead(nil, 0, 3)
	whole = appendMessage(whole, 0, 4, Message{Topic: "a/b", Payload: []byte("payload"), Retain: true}, 1_700_000_000)
	whole = appendMark(whole, 0, 4)
	whole = appendMessage(whole, 0, 6, Message{Topic: "", Latest: true}, 0)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(append(bytes.Clone(whole[7:]), whole...))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		sc := scanner{src: bytes.NewReader(data), end: int64(len(data))}
		var last uint64
		for {
			from := sc.off
			r, lost, err := sc.whole()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			var again []byte
			switch r.kind {
			case kindHead:
				again = appendHead(nil, 0, r.number)
			case kindMark:
				again = appendMark(nil, 0, r.number)
			default:
				if r.number <= last {
					t.Fatalf("%d after %d", r.number, last)
				}
				last = r.number
				again = appendMessage(nil, 0, r.number, r.entry().Message, r.at)
			}
			if got := data[from+lost : sc.off]; !bytes.Equal(got, again) {
				t.Fatalf("read %x, writes %x", got, again)
			}
		}
		d := powercut.New()
		d.Put(segmentName(1, 0), data)
		o := &Outbox{Dir: ".", FS: d}
		if _, err := o.Next(1000, 1<<20); err != nil {
			t.Fatal(err)
		}
		if err := o.Put(Message{Topic: "a"}); err != nil {
			t.Fatal(err)
		}
	})
}
