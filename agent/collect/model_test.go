package collect

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLinesArriveOnceInOrder writes to a log, rotates it by renaming and by
// copying and truncating, lets a Collector look now and then, and ends it at
// any of its steps. In the end every line has arrived once, and in order.
func TestLinesArriveOnceInOrder(t *testing.T) {
	for name, pattern := range map[string]string{"the log alone": "app.log", "its rotations match": "app.log*"} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { rotations(t, pattern) })
		})
	}
}

func rotations(t *rapid.T, pattern string) {
	dir, err := os.MkdirTemp("", "collect")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	w := newWorld(t, dir, pattern)
	defer func() { w.c.closeFiles() }()
	w.size = rapid.Int64Range(20, 400).Draw(t, "size")
	const keep = 100
	var all strings.Builder
	n := 0
	write := func() {
		var b strings.Builder
		for range rapid.IntRange(1, 12).Draw(t, "lines") {
			n++
			fmt.Fprintf(&b, "%04d %s\n", n, strings.Repeat("x", n%90))
		}
		text := b.String()
		all.WriteString(text)
		if cut := rapid.IntRange(0, len(text)).Draw(t, "cut"); cut < len(text) { // half a line, and a look at it
			w.append("app.log", text[:cut])
			w.pass(rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "later"))
			text = text[cut:]
		}
		w.append("app.log", text)
	}
	w.append("app.log", "")
	w.pass(time.Second) // it is known before it is rotated
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		switch rapid.SampledFrom([]string{"write", "write", "rename", "copytruncate", "look", "end", "dying"}).Draw(t, "step") {
		case "write":
			write()
		case "rename":
			w.rename("app.log", keep)
		case "copytruncate":
			// Seen once with something in it; two truncations of a file that
			// nobody has looked at are as good as none.
			w.pass(0)
			w.copyTruncate("app.log", keep, func() {
				if rapid.Bool().Draw(t, "look at the copy") {
					w.pass(time.Second)
				}
			})
		case "look":
			w.pass(time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second)
		case "end":
			w.start()
		case "dying":
			w.queue.left = rapid.IntRange(0, 12).Draw(t, "steps to live")
			w.start()
			w.pass(time.Second)
			w.queue.left = -1
			w.start()
		}
	}
	for range 4 {
		w.pass(time.Minute)
	}
	w.wants(all.String())
	if s := w.c.sources["app"]; s.Behind != 0 || s.Lost != 0 || s.Error != "" {
		t.Fatalf("status %+v", *s)
	}
}

// TestAShortFileIsKnownAfterARestart has a log of a few lines copied, truncated
// and filled again while the Collector is away: the print of its first byte
// alone, which all lines share, would not tell.
func TestAShortFileIsKnownAfterARestart(t *testing.T) {
	w := newWorld(t, t.TempDir(), "app.log")
	defer func() { w.c.closeFiles() }()
	w.size = 400
	w.append("app.log", "0")
	w.pass(time.Second)
	w.append("app.log", "001 first\n0002 second\n")
	w.pass(0)
	w.copyTruncate("app.log", 9, func() {})
	w.start()
	w.append("app.log", "0003 third, of a file that is longer by now\n")
	w.pass(time.Second)
	for range 4 {
		w.pass(time.Minute)
	}
	w.wants("0001 first\n0002 second\n0003 third, of a file that is longer by now\n")
}
