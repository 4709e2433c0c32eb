package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// inBubble runs f on a started bench in a bubble of testing/synctest.
func inBubble(t *testing.T, f func(t *testing.T, b *bench, c *cloud)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c).start()
		defer b.stop()
		time.Sleep(time.Second)
		f(t, b, c)
	})
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestFilesGoToTheCloudOldestFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		b.add("log", "display", "a.log", "one")
		b.add("journal", "", "b.txt", "two")
		b.drop("gps/g.nmea", "three")
		b.drop("event/can-controller1/e", "four")
		s := b.idle()
		if got := c.arrived(); len(got) != 4 || got[0] != "log/display/a.log=one" || got[1] != "journal//b.txt=two" {
			t.Errorf("arrived %q", got)
		}
		if s.Sent != 4 || s.QueuedBytes != 0 || s.LastError != "" || s.InFlight != "" || s.Watching || s.IntakeError != "" {
			t.Errorf("status %+v", s)
		}
		equal(t, "spool", b.spooled(), []string(nil))
	})
}

func TestAddRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		cause := errors.New("sender hung up")
		for _, tc := range []struct {
			name, typ, module, file string
			r                       io.Reader
			want                    error
		}{
			{"an unknown type", "video", "", "a", strings.NewReader("x"), ErrType},
			{"a path", "log", "", "../a", strings.NewReader("x"), ErrName},
			{"no name", "log", "", "", strings.NewReader("x"), ErrName},
			{"control characters", "log", "", "a\x1b[0m", strings.NewReader("x"), ErrName},
			{"invisible characters", "log", "", "a\u202eb", strings.NewReader("x"), ErrName},
			{"not UTF-8", "log", "", "\xff", strings.NewReader("x"), ErrName},
			{"a module's path", "log", "a/b", "a", strings.NewReader("x"), ErrName},
			{"nothing", "log", "", "a", strings.NewReader(""), ErrEmpty},
			{"half a file", "log", "", "a", io.MultiReader(strings.NewReader("x"), iotest.ErrReader(cause)), cause},
		} {
			if _, err := b.Add(t.Context(), tc.typ, tc.module, tc.file, tc.r); !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Add(ctx, "log", "", "a", strings.NewReader("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: got %v", err)
		}
		b.idle()
		equal(t, "requests", c.registered(), 0)
		equal(t, "spool", b.spooled(), []string(nil))
	})
}

func TestAddAfterTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		r, w := io.Pipe()
		result := make(chan error)
		go func() {
			_, err := b.Add(context.Background(), "log", "", "late", r)
			result <- err
		}()
		fmt.Fprint(w, "begun in time")
		b.stop()
		w.Close()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if _, err := b.Add(t.Context(), "log", "", "a", strings.NewReader("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		equal(t, "spool", b.spooled(), []string(nil))
	})
}

func TestSpoolHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		first := newBench(t, dir, newCloud(t)).start()
		time.Sleep(time.Second)
		c := newCloud(t)
		second := newBench(t, dir, c)
		if _, err := second.Add(t.Context(), "log", "", "a", strings.NewReader("x")); !errors.Is(err, errInUse) {
			t.Errorf("got %v", err)
		}
		second.start()
		time.Sleep(time.Second)
		if s, _ := second.Status(); s.State != Waiting || s.LastError != errInUse.Error() {
			t.Errorf("status %+v", s)
		}
		first.stop()
		time.Sleep(time.Minute)
		second.add("log", "", "a", "x")
		second.idle()
		second.stop()
		equal(t, "arrived", c.arrived(), []string{"log//a=x"})
	})
}

func TestFullSpoolDropsTheOldest(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		down := true
		c.putting = func(*entry, string) (error, error) {
			if down {
				return errLink0, nil
			}
			return nil, nil
		}
		b := newBench(t, dir, c)
		b.MaxSpool = 100
		b.start()
		defer b.stop()
		b.add("log", "", "0", strings.Repeat("0", 40)) // announced, so it stays
		time.Sleep(time.Second)
		for _, name := range []string{"1", "2", "3", "4"} {
			b.add("log", "", name, strings.Repeat(name, 20))
		}
		if _, err := b.Add(t.Context(), "log", "", "5", strings.NewReader(strings.Repeat("5", 61))); !errors.Is(err, ErrFull) {
			t.Errorf("more than fits beside what is announced: got %v", err)
		}
		if _, err := b.Add(t.Context(), "log", "", "6", strings.NewReader(strings.Repeat("6", 101))); !errors.Is(err, ErrFull) {
			t.Errorf("more than fits at all: got %v", err)
		}
		if s, _ := b.Status(); s.Dropped != 1 || s.Queued != 4 || s.QueuedBytes != 100 {
			t.Errorf("status %+v", s)
		}
		c.change(func() { down = false })
		b.idle()
		var names []string
		for _, e := range c.order {
			names = append(names, e.name)
		}
		equal(t, "arrived", names, []string{"0", "2", "3", "4"})
	})
}

func TestLongFilesOfLinesAreSplit(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c)
		b.MaxFile = 10
		b.start()
		defer b.stop()
		b.add("log", "", "app.log", "one\ntwo\nthree\na line longer than that\nend")
		b.add("log", "", "plain", "1234\n5678\n90")
		b.add("log", "", "can.trc", "\x00\n\x01\n\x02\n\x03\n\x04\n\x05\n\x06\n")
		b.add("journal", "", "short.log", "1\n2\n3\n4\n5\n")
		b.idle()
		equal(t, "arrived", c.arrived(), []string{
			"log//app.001.log=one\ntwo\n", "log//app.002.log=three\n", "log//app.003.log=a line longer than that\n", "log//app.004.log=end",
			"log//plain.001=1234\n5678\n", "log//plain.002=90",
			"log//can.trc=\x00\n\x01\n\x02\n\x03\n\x04\n\x05\n\x06\n",
			"journal//short.log=1\n2\n3\n4\n5\n",
		})
	})
}

func TestStatusTellsOfProgress(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		hold := make(chan struct{})
		c.putting = func(*entry, string) (error, error) { <-hold; return nil, nil }
		b.add("log", "", "a.log", "contents")
		time.Sleep(time.Second)
		s, changed := b.Status()
		if s.State != Sending || s.InFlight != "a.log" || s.InFlightTotal != 8 || s.Queued != 1 || s.QueuedBytes != 8 {
			t.Errorf("status %+v", s)
		}
		close(hold)
		<-changed
		if s := b.idle(); s.Sent != 1 || s.InFlight != "" {
			t.Errorf("status %+v", s)
		}
	})
}

func TestSleepingUploaderSleeps(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		b.add("log", "", "a", "x")
		b.idle()
		time.Sleep(time.Minute)
		before, _ := b.Status()
		time.Sleep(24 * time.Hour)
		if after, _ := b.Status(); !reflect.DeepEqual(before, after) {
			t.Errorf("status of an idle day: %+v, then %+v", before, after)
		}
	})
}

// TestEventsBringFilesAtOnce is the one test with the kernel's own events.
func TestEventsBringFilesAtOnce(t *testing.T) {
	c := newCloud(t)
	b := newBench(t, t.TempDir(), c)
	b.watch = nil
	b.drop("log/before", "there before the start")
	b.start()
	defer b.stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	until := func(ok func(Status) bool) {
		t.Helper()
		for {
			s, changed := b.Status()
			if ok(s) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("status %+v", s)
			}
		}
	}
	until(func(s Status) bool { return s.Watching && s.Sent == 1 })
	b.drop("log/.hidden", "renamed in")
	if err := os.Rename(filepath.Join(b.Dir, "log/.hidden"), filepath.Join(b.Dir, "log/renamed")); err != nil {
		t.Fatal(err)
	}
	until(func(s Status) bool { return s.Sent == 2 })
	b.drop("log/new-module/file", "in a directory that is new")
	until(func(s Status) bool { return s.Sent == 3 })
	equal(t, "arrived", c.arrived(), []string{
		"log//before=there before the start", "log//renamed=renamed in", "log/new-module/file=in a directory that is new",
	})
}
