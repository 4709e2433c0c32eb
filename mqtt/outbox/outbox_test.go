package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

func put(t *testing.T, o *Outbox, topic string, payload string) {
	t.Helper()
	if err := o.Put(Message{Topic: topic, Payload: []byte(payload)}); err != nil {
		t.Fatalf("Put %s: %v", payload, err)
	}
}

// read returns what waits, as TOPIC=PAYLOAD.
func read(t *testing.T, o *Outbox, n int) (list []string, entries []*Entry) {
	t.Helper()
	entries, err := o.Next(n, 1<<30)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	for _, e := range entries {
		list = append(list, e.Topic+"="+string(e.Payload))
	}
	return list, entries
}

// reopen is another process on the same disk.
func reopen(o *Outbox) *Outbox {
	return &Outbox{Dir: o.Dir, FS: o.FS, MaxBytes: o.MaxBytes, MaxAge: o.MaxAge, Now: o.Now}
}

func TestMessagesComeBackInOrderUntilTheyAreAcknowledged(t *testing.T) {
	o := &Outbox{Dir: t.TempDir()}
	for i := range 10 {
		put(t, o, "a", fmt.Sprint(i))
	}
	_, first := read(t, o, 4)
	o.Ack(first[0])
	o.Ack(first[1])
	o.Ack(first[3]) // not the next in order
	o.Settle()
	// killed here
	o = reopen(o)
	got, all := read(t, o, 100)
	if want := "a=2 a=3 a=4 a=5 a=6 a=7 a=8 a=9"; strings.Join(got, " ") != want {
		t.Fatalf("after a kill: %v, want %v", got, want)
	}
	if more, _ := read(t, o, 100); len(more) != 0 {
		t.Errorf("read twice: %v", more)
	}
	for _, e := range all {
		o.Ack(e)
		o.Ack(e) // counts once
	}
	put(t, o, "a", "10")
	if st := o.Status(); st.Messages != 1 || st.Delivered != 8 || st.Published != 1 {
		t.Errorf("status %+v", st)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.Put(Message{Topic: "a"}); !errors.Is(err, ErrClosed) {
		t.Errorf("Put after Close: %v", err)
	}
	if got, _ := read(t, reopen(o), 100); !slices.Equal(got, []string{"a=10"}) {
		t.Errorf("in the end: %v", got)
	}
}

// TestMessagesAcknowledgedOutOfTurnAreBounded at a broker that leaves one out:
// what is remembered of the others, and what a kill has sent twice.
func TestMessagesAcknowledgedOutOfTurnAreBounded(t *testing.T) {
	o := &Outbox{Dir: t.TempDir(), MaxBytes: 1 << 20}
	for range 8 {
		var g errgroup.Group
		for range 400 {
			g.Go(func() error { return o.Put(Message{Topic: "a"}) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	_, first := read(t, o, 1)
	n := 0
	for {
		_, more := read(t, o, 100)
		if len(more) == 0 {
			break
		}
		for _, e := range more {
			o.Ack(e)
		}
		n += len(more)
	}
	if n < maxAhead || n > maxAhead+100 {
		t.Errorf("%d read beyond the one that is not acknowledged", n)
	}
	o.Ack(first[0])
	if more, _ := read(t, o, 1<<20); len(more) != 8*400-1-n {
		t.Errorf("%d read then, %d before", len(more), n)
	}
}

func TestRetainAndTimeComeBack(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	trusted := true
	o := &Outbox{Dir: t.TempDir(), Now: func() (time.Time, bool) { return at, trusted }}
	if err := o.Put(Message{Topic: "a/ä", Payload: []byte{0, 255}, Retain: true}); err != nil {
		t.Fatal(err)
	}
	trusted = false
	put(t, o, "b", "")
	_, e := read(t, reopen(o), 2)
	if len(e) != 2 || e[0].Topic != "a/ä" || string(e[0].Payload) != "\x00\xff" || !e[0].Retain || !e[0].At.Equal(at) {
		t.Fatalf("got %+v", e)
	}
	if e[1].Retain || !e[1].At.IsZero() || e[1].Seq <= e[0].Seq {
		t.Errorf("got %+v", e[1])
	}
}

// TestNewestOfATopicTakesThePlace of those that were not read, and of no other.
func TestNewestOfATopicTakesThePlace(t *testing.T) {
	o := &Outbox{Dir: t.TempDir()}
	latest := func(topic, payload string) {
		t.Helper()
		if err := o.Put(Message{Topic: topic, Payload: []byte(payload), Latest: true}); err != nil {
			t.Fatal(err)
		}
	}
	latest("loc", "0")
	_, sent := read(t, o, 1)
	for i := range 3 {
		latest("loc", fmt.Sprint(i+1))
		put(t, o, "event", fmt.Sprint(i+1))
		latest("versions", fmt.Sprint(i+1))
	}
	want := "event=1 event=2 loc=3 event=3 versions=3"
	if st := o.Status(); st.Superseded != 4 || st.Messages != 6 {
		t.Errorf("status %+v", st)
	}
	if got, _ := read(t, reopen(o), 100); strings.Join(got, " ") != want {
		t.Errorf("after a kill: %v, want %v", got, want)
	}
	got, _ := read(t, o, 100)
	if strings.Join(got, " ") != want || len(sent) != 1 {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOldestGiveWayWhenFull(t *testing.T) {
	o := &Outbox{Dir: t.TempDir(), MaxBytes: 64 << 10}
	payload := " " + strings.Repeat("x", 1000)
	for i := range 300 {
		put(t, o, "a", fmt.Sprint(i, payload))
		if st := o.Status(); st.Bytes > o.MaxBytes {
			t.Fatalf("%d bytes on disk", st.Bytes)
		}
	}
	st := o.Status()
	got, _ := read(t, o, 1000)
	if int64(len(got))+st.Dropped != 300 || st.Messages != len(got) || len(got) < 40 || !strings.HasPrefix(got[len(got)-1], "a=299 ") {
		t.Fatalf("%d of 300 left, status %+v", len(got), st)
	}
	for i := range got {
		if want := fmt.Sprintf("a=%d ", 300-len(got)+i); !strings.HasPrefix(got[i], want) {
			t.Fatalf("message %d is %.10s, want %s", i, got[i], want)
		}
	}
	if again, _ := read(t, reopen(o), 1000); len(again) != len(got) {
		t.Errorf("%d after a kill", len(again))
	}
	if err := o.Put(Message{Topic: "a", Payload: make([]byte, 64<<10)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("larger than all: %v", err)
	}
}

// TestRareEventsOutliveAStreamOfStates is a gateway that is off line for weeks:
// its location supersedes itself and pushes nothing else out.
func TestRareEventsOutliveAStreamOfStates(t *testing.T) {
	o := &Outbox{Dir: ".", FS: powercut.New(), MaxBytes: 64 << 10}
	for i := range 40_000 {
		if i%1000 == 0 {
			put(t, o, "event", fmt.Sprint(i))
		}
		if err := o.Put(Message{Topic: "loc", Payload: []byte(fmt.Sprintf("%080d", i)), Latest: true}); err != nil {
			t.Fatal(err)
		}
	}
	st := o.Status()
	if st.Dropped != 0 || st.Messages != 41 {
		t.Fatalf("status %+v", st)
	}
	if wear := float64(st.WrittenBytes) / float64(st.PublishedBytes); wear > 2 {
		t.Errorf("%.2f bytes written for each published", wear)
	}
	got, _ := read(t, reopen(o), 100)
	if len(got) != 41 || got[0] != "event=0" || got[39] != "event=39000" {
		t.Errorf("got %v", got)
	}
}

func TestOldMessagesAreNotSent(t *testing.T) {
	now, trusted := time.Unix(1_700_000_000, 0), false
	o := &Outbox{Dir: t.TempDir(), MaxAge: time.Hour, Now: func() (time.Time, bool) { return now, trusted }}
	put(t, o, "a", "of an unknown time")
	trusted = true
	put(t, o, "a", "old")
	now = now.Add(50 * time.Minute)
	put(t, o, "a", "young")
	now, trusted = now.Add(20*time.Minute), false
	if got, _ := read(t, reopen(o), 9); len(got) != 3 {
		t.Errorf("while the time is not known: %v", got)
	}
	trusted = true
	got, _ := read(t, o, 9)
	if strings.Join(got, ",") != "a=of an unknown time,a=young" {
		t.Errorf("got %v", got)
	}
	if st := o.Status(); st.Dropped != 1 || st.Expired != 1 || st.Messages != 2 {
		t.Errorf("status %+v", st)
	}
}

// TestOneSyncForWhatArrivesTogether counts the syncs of a thousand publishers.
func TestOneSyncForWhatArrivesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, syncs := powercut.New(), 0
		d.Fault(func(call, _ string) error {
			if call == "sync" {
				syncs++
			}
			return nil
		})
		o := &Outbox{Dir: ".", FS: d, Window: time.Millisecond}
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() { put(t, o, "a", "x") })
		}
		all.Wait()
		if n := len(must(o.Next(2000, 1<<30))); n != 1000 || syncs > 8 {
			t.Errorf("%d messages by %d syncs", n, syncs)
		}
	})
}

func must(e []*Entry, err error) []*Entry {
	if err != nil {
		panic(err)
	}
	return e
}

// TestDiskThatFails tells the producer, keeps what it has, and takes messages
// again once the disk does.
func TestDiskThatFails(t *testing.T) {
	for _, fault := range []error{unix.EIO, unix.ENOSPC, unix.EROFS} {
		for _, call := range []string{"create", "write", "sync", "syncdir"} {
			t.Run(call+" "+fault.Error(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := powercut.New()
					o := &Outbox{Dir: ".", FS: d, MaxBytes: 64 << 10}
					for i := range 20 {
						put(t, o, "a", fmt.Sprint(i, strings.Repeat("x", 1500)))
					}
					entries := must(o.Next(2, 1<<30))
					d.Fault(func(c, _ string) error {
						if c == call {
							return fault
						}
						return nil
					})
					lost := 0
					for i := range 20 { // far enough for a new segment
						if err := o.Put(Message{Topic: "a", Payload: []byte(fmt.Sprint("b", i, strings.Repeat("y", 1500)))}); errors.Is(err, ErrNotDurable) && errors.Is(err, fault) {
							lost++
						} else if err != nil {
							t.Fatal(err)
						}
						time.Sleep(2 * retryDisk)
					}
					if lost == 0 || call != "syncdir" && call != "create" && lost != 20 || o.Status().Err == nil {
						t.Fatalf("%d told, status %+v", lost, o.Status())
					}
					o.Ack(entries[0])
					o.Settle()
					d.Fault(nil)
					time.Sleep(2 * retryDisk)
					put(t, o, "a", "c")
					if st := o.Status(); st.Err != nil || st.Messages != 40-lost {
						t.Errorf("status %+v after %d lost", st, lost)
					}
					o = reopen(o)
					got, _ := read(t, o, 100)
					if len(got) < 40-lost || !strings.HasPrefix(got[0], "a=1") || got[len(got)-1] != "a=c" {
						t.Errorf("%d found", len(got))
					}
				})
			})
		}
	}
}

// TestDamageIsPassedOverAndSetAside flips a byte, or cuts, in the middle of
// what waits.
func TestDamageIsPassedOverAndSetAside(t *testing.T) {
	dir := t.TempDir()
	o := &Outbox{Dir: dir}
	for i := range 100 {
		put(t, o, "a", fmt.Sprint(i, strings.Repeat("x", 20)))
	}
	name := filepath.Join(dir, segmentName(1, o.salt))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, append(data, "torn"...), 0o600); err != nil {
		t.Fatal(err)
	}
	o = reopen(o)
	got, entries := read(t, o, 200)
	if len(got) != 99 || !strings.HasPrefix(got[98], "a=99") {
		t.Fatalf("%d of 99 found", len(got))
	}
	for _, e := range entries {
		o.Ack(e)
	}
	put(t, o, "a", "new")
	o.Settle()
	if _, err := os.Stat(name + damaged); err != nil || o.Status().Quarantined != 1 {
		t.Errorf("not set aside: %v, %+v", err, o.Status())
	}
	if got, _ := read(t, reopen(o), 9); !slices.Equal(got, []string{"a=new"}) {
		t.Errorf("got %v", got)
	}
}
