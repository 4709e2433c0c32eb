package upload

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (b *bench) stage(name, text string) (string, error) {
	it, err := b.Stage(b.t.Context(), "log", "", name, "origin of "+name, strings.NewReader(text))
	return it.ID, err
}

// TestWhatIsStagedWaitsForItsRelease, in one life and in the next.
func TestWhatIsStagedWaitsForItsRelease(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c).start()
		one, err := b.stage("one", "1\n")
		if err != nil {
			t.Fatal(err)
		}
		two, err := b.stage("two", "2\n")
		if err != nil {
			t.Fatal(err)
		}
		b.add("log", "", "other", "other\n")
		time.Sleep(time.Hour)
		equal(t, "sent", fmt.Sprint(c.names()), "[other]")
		if s, _ := b.Status(); s.State != Idle || s.Spent || s.Queued != 2 {
			t.Errorf("status %+v", s)
		}
		b.Release(one)
		time.Sleep(time.Minute)
		equal(t, "sent", fmt.Sprint(c.names()), "[other one]")
		b.stop()

		b = newBench(t, dir, c).start()
		defer b.stop()
		staged, err := b.Staged()
		if err != nil || len(staged) != 1 || staged[two] != "origin of two" {
			t.Errorf("staged %v, %v", staged, err)
		}
		time.Sleep(time.Hour)
		equal(t, "sent", fmt.Sprint(c.names()), "[other one]")
		b.Release(two)
		b.idle()
		equal(t, "sent", fmt.Sprint(c.names()), "[other one two]")
		if left := b.spooled(); len(left) != 0 {
			t.Errorf("left in the spool: %v", left)
		}
	})
}

// TestARestartStagesWhatWasReleased: only whoever staged it knows whether its
// position became durable.
func TestARestartStagesWhatWasReleased(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		offline(c)
		b := newBench(t, dir, c).start()
		one, err := b.stage("one", "1\n")
		if err != nil {
			t.Fatal(err)
		}
		b.Release(one)
		time.Sleep(time.Second)
		b.stop()
		online(c)
		b = newBench(t, dir, c).start()
		defer b.stop()
		if staged, _ := b.Staged(); staged[one] == "" {
			t.Errorf("staged %v", staged)
		}
		time.Sleep(time.Hour)
		equal(t, "sent", len(c.names()), 0)
		b.Release(one)
		b.idle()
		equal(t, "sent", len(c.names()), 1)
	})
}

// TestNothingIsDroppedForWhatCanWait, nor is what is staged dropped for others.
func TestNothingIsDroppedForWhatCanWait(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		offline(c)
		b := newBench(t, dir, c)
		b.MaxSpool, b.Quotas = 1000, map[string]Quota{"log": {Files: 3}}
		b.start()
		defer b.stop()
		text := strings.Repeat("x", 400)
		b.add("debug", "", "d", text)
		if _, err := b.stage("one", text); err != nil {
			t.Fatal(err)
		}
		if _, err := b.stage("two", text); !errors.Is(err, ErrFull) {
			t.Errorf("beyond the spool: %v", err)
		}
		b.add("event", "", "e", text)
		s, _ := b.Status()
		if s.Dropped != 1 || s.Types[2] != (TypeStatus{"log", 1, 400, 0}) {
			t.Errorf("dropped %d, %v", s.Dropped, s.Types)
		}
		for _, name := range []string{"three", "four", "five"} {
			if _, err := b.stage(name, "x"); (err == nil) != (name != "five") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// unread has a length, and must not be asked for more.
type unread struct{ t *testing.T }

func (unread) Len() int { return 1000 }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("what there is no room for is written to the disk")
	return 0, io.EOF
}

func TestWhatHasNoRoomIsNotRead(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir, newCloud(t))
		b.MaxSpool = 999
		b.start()
		defer b.stop()
		if _, err := b.Stage(t.Context(), "log", "", "name", "origin", unread{t}); !errors.Is(err, ErrFull) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhatIsDiscardedIsGone(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c).start()
		defer b.stop()
		one, err := b.stage("one", "1\n")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Discard(one); err != nil {
			t.Error(err)
		}
		b.Release(one)
		if err := b.Discard(one); err != nil { // nothing any more
			t.Error(err)
		}
		b.idle()
		if left := b.spooled(); len(left) != 0 || len(c.names()) != 0 {
			t.Errorf("left in the spool: %v, sent %v", left, c.names())
		}
		if _, err := b.Stage(t.Context(), "log", "", "n", "", strings.NewReader("x")); !errors.Is(err, errOrigin) {
			t.Errorf("without an origin: %v", err)
		}
	})
}
