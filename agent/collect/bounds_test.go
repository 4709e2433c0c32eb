package collect

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// TestAllPositionsFitIntoARecord: one that could not be read again would have
// all lines sent once more.
func TestAllPositionsFitIntoARecord(t *testing.T) {
	s := state{Next: math.MaxUint64}
	sum := strings.Repeat("f", 24)
	name := "/" + strings.Repeat("<", maxPath/6-10) + strings.Repeat("n", 20)
	long := name
	for usable(name) {
		long, name = name, name+"n"
	}
	for range maxKnown {
		s.Files = append(s.Files, &file{
			mark:   mark{Dev: math.MaxUint64, Ino: math.MaxUint64, Pos: math.MaxInt64, Size: math.MaxInt64, Head: sum, Tail: sum},
			Source: strings.Repeat("s", 64), Path: long, MTime: math.MinInt64, Order: math.MaxUint64,
		})
	}
	path := filepath.Join(t.TempDir(), "collect")
	if err := atomicfile.SaveRecord(atomicfile.OS{}, path, s); err != nil {
		t.Fatal(err)
	}
	var again state
	if _, err := atomicfile.LoadRecord(atomicfile.OS{}, path, &again); err != nil || len(again.Files) != maxKnown || !again.Files[0].sane() {
		t.Errorf("%d files, %v", len(again.Files), err)
	}
}

// TestPositionsOfWhatIsGoneDoNotAddUp where a directory that is missing keeps
// everything from being known to be gone for good.
func TestPositionsOfWhatIsGoneDoNotAddUp(t *testing.T) {
	w := newWorld(t, t.TempDir(), "*.log", "../missing/*.log")
	want := ""
	const some = maxKnown / 3
	for round := range 5 {
		var names []string
		for i := range some {
			names = append(names, fmt.Sprintf("%d-%04d-log.log", round, i))
			text := fmt.Sprintln("line", round, i)
			w.append(names[i], text)
			want += text
		}
		w.pass(time.Second)
		w.wants(want)
		w.start() // nothing holds them open
		for _, name := range names {
			w.must(os.Remove(w.path(name)))
		}
	}
	if n := len(w.c.state.Files); n > maxKnown {
		t.Errorf("%d positions are kept", n)
	}
}

// TestAFileThatCannotBeReadHoldsNoOtherLogBack.
func TestAFileThatCannotBeReadHoldsNoOtherLogBack(t *testing.T) {
	w := newWorld(t, t.TempDir(), "*.log")
	w.append("a.log", "one\ntw")
	w.append("b.log", "b\n")
	w.pass(time.Second)
	second := filepath.Join(w.dir, "second")
	w.must(os.Link(w.path("a.log"), second))
	w.start()
	w.append("b.log", "more\n")
	w.pass(time.Second)
	w.wants("one\nb\nmore\n")
	if s := w.c.sources["app"]; !strings.Contains(s.Error, errHardLinks.Error()) {
		t.Errorf("status %+v", *s)
	}
	w.must(os.Remove(second))
	w.append("a.log", "o\n")
	w.pass(time.Minute)
	w.wants("one\nb\nmore\ntwo\n")
}

// TestAFullQueueIsNotAskedAtEveryLook, of which there may be four a second.
func TestAFullQueueIsNotAskedAtEveryLook(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log")
	w.size = 4
	w.start()
	w.append("app.log", "one\ntwo\n")
	w.queue.full = true
	for range 4 {
		w.pass(100 * time.Millisecond)
		if s := w.c.sources["app"]; !strings.Contains(s.Error, "full") {
			t.Errorf("status %+v", *s)
		}
	}
	if w.queue.asked != 1 {
		t.Errorf("asked %d times", w.queue.asked)
	}
	w.queue.full = false
	w.pass(time.Second)
	w.wants("one\ntwo\n")
}
