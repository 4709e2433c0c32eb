package outbox

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestRecordsInAPayloadAreNone has a program send, as its payload, records that
// say that all is delivered and that something goes to another topic. The power
// fails while that message is being written, at each of its bytes.
func TestRecordsInAPayloadAreNone(t *testing.T) {
	o := &Outbox{Dir: t.TempDir()}
	put(t, o, "door", "open")
	var forged []byte
	for salt := range uint32(3) { // those that it may guess
		forged = appendMark(forged, salt, math.MaxUint64)
		forged = appendMessage(forged, salt, 7, Message{Topic: "another/device"}, 0)
		forged = appendHead(forged, salt, math.MaxUint64)
	}
	if err := o.Put(Message{Topic: "a", Payload: forged}); err != nil {
		t.Fatal(err)
	}
	name := segmentName(1, o.salt)
	whole, err := os.ReadFile(filepath.Join(o.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	from := bytes.Index(whole, forged)
	if from < 0 {
		t.Fatal("payload not found")
	}
	for end := from; end < len(whole); end++ {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), whole[:end], 0o600); err != nil {
			t.Fatal(err)
		}
		after := &Outbox{Dir: dir}
		if got, _ := read(t, after, 100); !slices.Equal(got, []string{"door=open"}) {
			t.Fatalf("cut at byte %d: %q", end, got)
		}
		put(t, after, "door", fmt.Sprint("closed at ", end))
		if got, _ := read(t, reopen(after), 100); len(got) != 2 {
			t.Fatalf("cut at byte %d, after a restart: %q", end, got)
		}
	}
}
