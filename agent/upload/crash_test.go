package upload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestCrashesLoseAndDuplicateNothing kills the uploader at random operations on
// the disk and at random times, over a link that loses requests and answers.
// In the end every file is at the cloud once, in order, byte for byte.
func TestCrashesLoseAndDuplicateNothing(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { crashes(t, dir, seed) })
		})
	}
}

func crashes(t *testing.T, dir string, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	disk := &mortal{left: -1, exdev: seed%3 == 0}
	c := newCloud(t)
	badLink(c, rand.New(rand.NewPCG(seed, 2)))
	c.dead = disk.dead
	reopen := func() *bench {
		b := newBench(t, dir, c)
		b.FS, b.box, b.MaxFile = disk, disk, 2000
		return b.start()
	}

	// Dropped in the order of their modification times, before the first start.
	want := map[string]string{}
	var order []string
	b := newBench(t, dir, c)
	for i := range 6 {
		typ := Types[rng.IntN(len(Types))]
		module := []string{"", "display", "can-controller1"}[rng.IntN(3)]
		contents := lines(rng, 1+rng.IntN(200))
		if rng.IntN(3) == 0 {
			contents = string(binary(rng, 1+rng.IntN(8000)))
		}
		key := fmt.Sprintf("%s/%s/file%d", typ, module, i)
		path := b.drop(filepath.Join(typ, module, fmt.Sprintf("file%d", i)), contents)
		at := time.Unix(1700000000+int64(i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		want[key] = contents
		order = append(order, key)
	}

	for range 12 {
		disk.left = 1 + rng.IntN(120)
		b := reopen()
		for deadline := time.Now().Add(time.Duration(rng.IntN(600)) * time.Second); time.Now().Before(deadline) && !disk.dead(); {
			time.Sleep(time.Second)
		}
		b.stop()
	}
	disk.left = -1
	b = reopen()
	defer b.stop()
	b.idle()

	got, gotOrder := map[string]string{}, []string{}
	for _, e := range c.order {
		name, _, _ := strings.Cut(e.name, ".") // file1.002 is a part of file1
		key := fmt.Sprintf("%s/%s/%s", e.typ, e.module, name)
		if got[key] == "" {
			gotOrder = append(gotOrder, key)
		}
		got[key] += string(e.data)
		if len(e.data) > 2000 && strings.Contains(e.name, ".") && strings.Count(string(e.data), "\n") > 1 {
			t.Errorf("%s has %d bytes", e.name, len(e.data))
		}
	}
	for key, contents := range want {
		if got[key] != contents {
			t.Errorf("%s: %d bytes arrived, want %d: lost, doubled or out of order", key, len(got[key]), len(contents))
		}
	}
	if fmt.Sprint(gotOrder) != fmt.Sprint(order) {
		t.Errorf("arrived as\n %v\nwant\n %v", gotOrder, order)
	}
	if left := b.spooled(); len(left) != 0 {
		t.Errorf("left in the spool: %v", left)
	}
	if q := b.quarantine(); len(q) != 0 {
		t.Errorf("quarantined: %v", q)
	}
	if left := files(b.Dir, func(string) bool { return false }); len(left) != 0 {
		t.Errorf("left in the drop box: %v", left)
	}
}

// badLink fails at most two requests in a row, before or after the fact.
func badLink(c *cloud, rng *rand.Rand) {
	row, forgotten := 0, map[string]bool{}
	fail := func() (before, after error) {
		if row == 2 || rng.IntN(2) == 0 {
			row = 0
			return nil, nil
		}
		row++
		switch rng.IntN(6) {
		case 0:
			return errLink0, nil
		case 1:
			return nil, errLink0 // carried out, the answer lost
		case 2:
			return &statusError{status: 500}, nil
		case 3:
			return nil, &statusError{status: 504}
		case 4:
			return &statusError{429, 7 * time.Second}, nil
		}
		return &statusError{status: 401}, nil
	}
	c.creating = func(string, string) (error, error) { return fail() }
	c.putting = func(e *entry, name string) (error, error) {
		if e.puts == 0 && rng.IntN(5) == 0 && !forgotten[name] {
			forgotten[name] = true
			delete(c.entries, e.id) // 404 from now on, so a new id, once
			return &statusError{status: 404}, nil
		}
		return fail()
	}
}

func binary(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	b[0] = 0 // not text, however short
	return b
}

// TestAddSurvivesOrFails kills the uploader at each operation of an Add in
// turn: an Add that returned is at the cloud in the end, one that failed may be
// there, and neither is there twice.
func TestAddSurvivesOrFails(t *testing.T) {
	for left := 1; left < 40; left++ {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			disk := &mortal{left: left}
			c := newCloud(t)
			c.dead = disk.dead
			b := newBench(t, dir, c)
			b.FS, b.box = disk, disk
			b.start()
			_, err := b.Add(context.Background(), "log", "display", "a.log", strings.NewReader("contents"))
			time.Sleep(time.Hour)
			b.stop()
			disk.left = -1
			b = newBench(t, dir, c)
			b.FS, b.box = disk, disk
			b.start()
			b.idle()
			b.stop()
			got := c.arrived()
			if len(got) > 1 || err == nil && len(got) != 1 || len(got) == 1 && got[0] != "log/display/a.log=contents" {
				t.Errorf("after %d operations: Add gave %v, arrived %q", left, err, got)
			}
			if left := b.spooled(); len(left) != 0 {
				t.Errorf("left in the spool: %v", left)
			}
		})
	}
}

// TestCopyWhoseSourceStaysIsNotSentTwice kills the uploader at each operation
// in turn, with a drop box on another file system that lets nothing be removed.
func TestCopyWhoseSourceStaysIsNotSentTwice(t *testing.T) {
	for left := 1; left < 100; left++ {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			disk := &mortal{left: left, exdev: true, stuck: true}
			c := newCloud(t)
			c.dead = disk.dead
			for range 2 {
				b := newBench(t, dir, c)
				b.FS, b.box = disk, disk
				if disk.left == left {
					b.drop("log/display/a.log", "contents")
				}
				b.start()
				time.Sleep(time.Hour)
				b.stop()
				disk.left = -1
			}
			equal(t, fmt.Sprintf("arrived after %d operations", left), c.arrived(), []string{"log/display/a.log=contents"})
			b := newBench(t, dir, c)
			equal(t, "spool", b.spooled(), []string(nil))
		})
	}
}

// TestStopIsNotLost ends the uploader while a request is under way.
func TestStopIsNotLost(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c)
		ctxDone := make(chan struct{})
		c.putting = func(*entry, string) (error, error) {
			b.cancel()
			close(ctxDone)
			return nil, context.Canceled // carried out, but we were gone
		}
		b.start()
		b.add("txt", "", "a.txt", "hello")
		<-b.done
		<-ctxDone
		if len(b.spooled()) == 0 {
			t.Fatal("gone though nobody heard of its arrival")
		}
		c.putting = nil
		b = newBench(t, dir, c).start()
		defer b.stop()
		b.idle()
		if c.registered() != 1 || len(c.arrived()) != 1 || c.order[0].puts != 2 {
			t.Errorf("%d registered, %d arrived", c.registered(), len(c.arrived()))
		}
	})
}
