package upload

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// offline keeps everything in the spool.
func offline(c *cloud) {
	c.change(func() {
		c.creating = func(string, string) (error, error) { return &statusError{status: 503}, nil }
	})
}

func online(c *cloud) { c.change(func() { c.creating = nil }) }

// TestLeastImportantGoesFirst: and within a type the oldest, and never for a
// file that is less important.
func TestLeastImportantGoesFirst(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		offline(c)
		b := newBench(t, dir, c)
		b.MaxSpool = 1000
		b.Quotas = map[string]Quota{"log": {Files: 3}, "event": {Bytes: 500}}
		b.start()
		defer b.stop()
		for _, f := range []struct{ typ, name string }{
			{"debug", "d1"}, {"event", "e1"}, {"debug", "d2"}, {"journal", "j1"},
			{"log", "l1"}, {"log", "l2"}, {"log", "l3"}, {"log", "l4"}, {"event", "e2"}, {"event", "e3"},
		} {
			b.add(f.typ, "", f.name, strings.Repeat("x", 200))
		}
		_, err := b.Add(t.Context(), "debug", "", "d3", strings.NewReader(strings.Repeat("x", 200)))
		if err != ErrFull {
			t.Errorf("a debug file in a spool of more important ones: %v", err)
		}
		s, _ := b.Status()
		equal(t, "dropped", s.Dropped, 5)
		var kinds []string
		for _, ts := range s.Types {
			if ts.Queued+ts.Dropped > 0 {
				kinds = append(kinds, fmt.Sprint(ts))
			}
		}
		equal(t, "types", kinds, []string{"{event 2 400 1}", "{log 3 600 1}", "{journal 0 0 1}", "{debug 0 0 2}"})
		online(c)
		b.idle()
		equal(t, "arrived", len(c.arrived()), 5)
	})
}

func TestTooOldIsDropped(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		offline(c)
		b := newBench(t, dir, c)
		var known atomic.Bool
		b.Quotas = map[string]Quota{"gps": {Age: 24 * time.Hour}}
		b.Now = func() (time.Time, bool) { return time.Now(), known.Load() }
		b.start()
		defer b.stop()
		b.add("gps", "", "old", "x")
		b.add("log", "", "any", "x")
		time.Sleep(48 * time.Hour)
		s, _ := b.Status()
		equal(t, "dropped at an unknown time", s.Dropped, 0)
		known.Store(true)
		time.Sleep(25 * time.Hour)
		s, _ = b.Status()
		equal(t, "dropped", s.Dropped, 1)
		equal(t, "queued", s.Queued, 1)
	})
}

// TestSmallAheadOfLarge: while much waits, and large ones are not starved.
func TestSmallAheadOfLarge(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c)
		large := strings.Repeat("\x00", 3<<20)
		b.add("log", "", "large1", large)
		b.add("log", "", "large2", large)
		for i := range 2 * turns {
			b.add("log", "", fmt.Sprintf("small%02d", i), "x")
		}
		b.start()
		defer b.stop()
		b.idle()
		order := c.names()
		if slices.Index(order, "small00") != 0 || slices.Index(order, "large1") != turns || len(order) != 2*turns+2 {
			t.Errorf("order %v", order)
		}
	})
}

func TestMonthlyBytesAreForTheImportant(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c)
		b.Monthly = 1 << 20
		b.start()
		defer b.stop()
		bin := func(n int) string { return strings.Repeat("\x00", n) }
		b.add("log", "", "much", bin(750<<10))
		time.Sleep(time.Minute)
		b.add("debug", "", "late", "x")
		b.add("log", "", "more", bin(200<<10))
		time.Sleep(time.Minute)
		b.add("log", "", "too much", "x")
		b.add("event", "", "door", "x")
		time.Sleep(time.Minute)
		equal(t, "arrived this month", c.names(), []string{"much", "more", "door"})
		if s, _ := b.Status(); !s.Spent || s.State != Waiting || !strings.Contains(s.LastError, "month") {
			t.Errorf("status %+v", s)
		}
		time.Sleep(32 * 24 * time.Hour)
		equal(t, "arrived in the next", len(c.arrived()), 5)
	})
}

func TestRateLimit(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c)
		b.RateLimit = 10 << 10
		b.add("log", "", "a", strings.Repeat("\x00", 600<<10))
		b.start()
		defer b.stop()
		time.Sleep(50 * time.Second)
		if s, _ := b.Status(); s.State != Sending || s.InFlightBytes > 520<<10 {
			t.Errorf("at 10 KiB/s after 50 s: %+v", s)
		}
		b.idle()
		equal(t, "arrived", len(c.arrived()), 1)
	})
}

// TestGzip: each part compressed by itself, the same bytes under an id again.
func TestGzip(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		n := 0
		c.putting = func(*entry, string) (error, error) {
			if n++; n == 1 {
				return nil, errLink0 // the answer is lost
			}
			return nil, nil
		}
		b := newBench(t, dir, c)
		b.MaxFile = 1000
		b.Quotas = map[string]Quota{"log": {Gzip: true}}
		text := strings.Repeat("a line of text\n", 100)
		b.add("log", "", "app.log", text)
		b.add("txt", "", "plain", "as it is")
		b.start()
		defer b.stop()
		b.idle()
		var names []string
		var whole []byte
		for _, e := range c.order {
			names = append(names, e.name)
			if e.typ != "log" {
				continue
			}
			r, err := gzip.NewReader(bytes.NewReader(e.data))
			if err != nil {
				t.Fatal(err)
			}
			part, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			whole = append(whole, part...)
		}
		slices.Sort(names)
		equal(t, "names", names, []string{"app.001.log.gz", "app.002.log.gz", "plain"})
		equal(t, "text", string(whole), text)
		equal(t, "left in the spool", len(b.spooled()), 0)
	})
}

func TestArchiveIsBounded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c)
		b.Archive = 250
		b.start()
		defer b.stop()
		for i := range 5 {
			b.add("log", "", fmt.Sprint("f", i), strings.Repeat("x", 100))
		}
		b.idle()
		var kept []string
		for _, name := range files(filepath.Join(b.State, "archive"), func(string) bool { return false }) {
			kept = append(kept, name[seqDigits+1:])
		}
		equal(t, "kept", kept, []string{"f3", "f4"})
		equal(t, "left in the spool", len(b.spooled()), 0)
		got, err := os.ReadFile(filepath.Join(b.State, "archive", seqName(5)+"-f4"))
		equal(t, "contents", string(got), strings.Repeat("x", 100))
		if err != nil {
			t.Error(err)
		}
	})
}
