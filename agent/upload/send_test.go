package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		status           int
		create, put, new verdict // new: put under the second id
	}{
		{0, retry, retry, retry}, // no answer
		{200, retry, retry, retry},
		{302, retry, retry, retry}, // a portal
		{400, quarantine, renew, quarantine},
		{401, retry, retry, retry},
		{402, quarantine, quarantine, quarantine},
		{403, suspect, suspect, suspect},
		{404, suspect, renew, quarantine},
		{405, suspect, quarantine, quarantine},
		{407, retry, retry, retry},
		{408, retry, retry, retry},
		{409, quarantine, quarantine, quarantine},
		{410, quarantine, renew, quarantine},
		{413, quarantine, quarantine, quarantine},
		{415, quarantine, quarantine, quarantine},
		{421, retry, retry, retry},
		{422, quarantine, quarantine, quarantine},
		{425, retry, retry, retry},
		{429, retry, retry, retry},
		{500, retry, retry, retry},
		{501, retry, retry, retry},
		{503, retry, retry, retry},
		{599, retry, retry, retry},
	} {
		got := [3]verdict{judge(create, tc.status, false), judge(put, tc.status, false), judge(put, tc.status, true)}
		if want := [3]verdict{tc.create, tc.put, tc.new}; got != want {
			t.Errorf("%d: got %v, want %v", tc.status, got, want)
		}
	}
	status, after := answer(fmt.Errorf("wrapped: %w", &statusError{429, time.Minute}))
	if status != 429 || after != time.Minute {
		t.Errorf("got %d, %v", status, after)
	}
	if status, after := answer(errLink0); status != 0 || after != 0 {
		t.Errorf("got %d, %v", status, after)
	}
}

func TestBackoff(t *testing.T) {
	for i, want := range []int{15, 15, 30, 60, 120, 300, 300, 300} {
		if got := Backoff(i, 0.5); got != time.Duration(want)*time.Second {
			t.Errorf("attempt %d: got %v, want %d s", i, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		attempt, u := rapid.Int().Draw(t, "attempt"), rapid.Float64Range(0, 0.999999).Draw(t, "u")
		after := time.Duration(rapid.Int64().Draw(t, "after"))
		if d := Backoff(attempt, u); d < 12*time.Second || d > 6*time.Minute {
			t.Errorf("backoff %v", d)
		}
		d := pause(attempt, after, u)
		if d < time.Second || d > maxWait+maxWait/10 || after > 0 && after <= maxWait && d < after {
			t.Errorf("asked for %v, pause %v", after, d)
		}
	})
}

func TestFailuresBackOff(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		n := 0
		c.putting = func(*entry, string) (error, error) {
			if n++; n <= 6 {
				return []error{errLink0, &statusError{status: 503}, &statusError{429, 100 * time.Second}, &statusError{status: 500}, &statusError{302, 0}, &statusError{401, 0}}[n-1], nil
			}
			return nil, nil
		}
		b.add("log", "", "a", "x")
		time.Sleep(5 * time.Second)
		s, _ := b.Status()
		if s.State != Waiting || s.LastError != "send contents: connection reset" || time.Until(s.NextTry) != 10*time.Second || s.Queued != 1 {
			t.Errorf("status %+v", s)
		}
		b.idle()
		var waits []int
		for i := 2; i < len(c.times); i++ {
			waits = append(waits, int(c.times[i].Sub(c.times[i-1]).Seconds()))
		}
		equal(t, "waits in seconds", waits, []int{15, 30, 105, 120, 300, 300})
		equal(t, "registered", c.registered(), 1)
	})
}

func TestIDThatIsNotTakenIsRenewedOnce(t *testing.T) {
	for _, status := range []int{400, 404, 410} {
		for _, again := range []bool{false, true} {
			inBubble(t, func(t *testing.T, b *bench, c *cloud) {
				c.putting = func(e *entry, _ string) (error, error) {
					if e.id == "101" || again {
						return &statusError{status: status}, nil
					}
					return nil, nil
				}
				b.add("log", "display", "a.log", "x")
				b.add("log", "", "b.log", "y")
				b.idle()
				if again {
					q := b.quarantine()
					if len(c.arrived()) != 0 || c.registered() != 4 || len(q) != 2 || !strings.Contains(q["a.log"], fmt.Sprintf("cloud says %d\ntype: log\nmodule: display\n", status)) {
						t.Errorf("%d: %d registered, quarantined %q", status, c.registered(), q)
					}
					return
				}
				equal(t, "arrived", c.arrived(), []string{"log/display/a.log=x", "log//b.log=y"})
				equal(t, "registered", c.registered(), 3)
			})
		}
	}
}

func TestRefusedFileIsQuarantinedAndHoldsNobodyUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		c.creating = func(_, module string) (error, error) {
			if module == "unknown" {
				return &statusError{status: 422}, nil
			}
			return nil, nil
		}
		c.putting = func(_ *entry, name string) (error, error) {
			if name == "large" {
				return &statusError{status: 413}, nil
			}
			return nil, nil
		}
		b.add("log", "unknown", "a.log", "x")
		b.add("log", "", "large", "y")
		b.add("log", "", "good", "z")
		s := b.idle()
		equal(t, "arrived", c.arrived(), []string{"log//good=z"})
		q := b.quarantine()
		if s.Quarantined != 2 || !strings.Contains(q["a.log"], "reason: register: cloud says 422\n") || !strings.Contains(q["large"], "reason: send contents: cloud says 413\n") {
			t.Errorf("quarantined %d: %q", s.Quarantined, q)
		}
		equal(t, "spool", b.spooled(), []string(nil))
	})
}

// TestForbiddenIsAboutUsUntilOthersAreAccepted: a device that is disabled for a
// day must not find its files in quarantine, a single forbidden file must not
// be tried for ever.
func TestForbiddenIsAboutUsUntilOthersAreAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		disabled := true
		c.creating = func(_, module string) (error, error) {
			if disabled || module == "foreign" {
				return &statusError{status: 403}, nil
			}
			return nil, nil
		}
		b.add("log", "foreign", "a", "x")
		b.add("log", "", "b", "y")
		time.Sleep(24 * time.Hour)
		if s, _ := b.Status(); s.Queued != 2 || s.Quarantined != 0 {
			t.Errorf("status after a day: %+v", s)
		}
		c.change(func() { disabled = false })
		s := b.idle()
		equal(t, "arrived", c.arrived(), []string{"log//b=y"})
		if q := b.quarantine(); s.Quarantined != 1 || !strings.Contains(q["a"], "403") {
			t.Errorf("quarantined %q", q)
		}
	})
}

func TestFileTheServerCannotDigestIsOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		broken := true
		c.putting = func(_ *entry, name string) (error, error) {
			if name == "poison" && broken {
				return &statusError{status: 500}, nil
			}
			return nil, nil
		}
		b.add("log", "", "poison", "x")
		for i := range 5 {
			b.add("log", "", fmt.Sprint(i), "y")
		}
		time.Sleep(time.Hour)
		equal(t, "arrived", len(c.arrived()), 5)
		if s, _ := b.Status(); s.Queued != 1 || s.Quarantined != 0 {
			t.Errorf("status %+v", s)
		}
		c.change(func() { broken = false })
		b.idle()
		equal(t, "registered", c.registered(), 6)
	})
}

// TestOtherContentsGetAnotherID: a writer kept the file open while it was taken.
func TestOtherContentsGetAnotherID(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		n := 0
		write := func(text string) {
			late, err := os.OpenFile(b.spool.path(1, "data"), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer late.Close()
			fmt.Fprint(late, text)
		}
		c.putting = func(*entry, string) (error, error) {
			switch n++; n {
			case 1: // half of it arrives, then the writer goes on
				write(" and more")
				return errLink0, nil
			case 2:
				write(" and yet more")
			}
			return nil, nil
		}
		it, err := b.Add(t.Context(), "log", "", "a.log", strings.NewReader("begun"))
		if err != nil {
			t.Fatal(err)
		}
		b.idle()
		equal(t, "item", it.ID, "000000000001")
		equal(t, "arrived", c.arrived(), []string{"log//a.log=begun and more", "log//a.002.log= and yet more"})
		equal(t, "registered", c.registered(), 3)
	})
}

func TestFileThatShrankInTheSpoolIsQuarantined(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		c.putting = func(*entry, string) (error, error) {
			if err := os.Truncate(b.spool.path(1, "data"), 0); err != nil {
				t.Error(err)
			}
			return errLink0, nil
		}
		b.add("log", "", "a", "contents")
		b.idle()
		if q := b.quarantine(); !strings.Contains(q["a"], "became shorter") {
			t.Errorf("quarantined %q", q)
		}
		equal(t, "registered", c.registered(), 1)
	})
}

// A failingDisk refuses to make files, as one that is full does.
type failingDisk struct {
	atomicfile.OS
	full atomic.Bool
}

func (d *failingDisk) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	if d.full.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	return d.OS.Create(name, perm)
}

func TestNothingIsSentUnderAnIDThatIsNotOnDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		disk := &failingDisk{}
		b := newBench(t, dir, c)
		b.FS = disk
		c.creating = func(string, string) (error, error) { disk.full.Store(true); return nil, nil }
		b.start()
		defer b.stop()
		b.add("log", "", "a", "x")
		time.Sleep(time.Hour)
		s, _ := b.Status()
		if len(c.arrived()) != 0 || s.Queued != 1 || !strings.Contains(s.LastError, "no space left") {
			t.Errorf("%d arrived, status %+v", len(c.arrived()), s)
		}
		if _, err := b.Add(t.Context(), "log", "", "b", strings.NewReader("y")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
		disk.full.Store(false)
		b.idle()
		equal(t, "arrived", c.arrived(), []string{"log//a=x"})
		equal(t, "registered", c.registered(), 1)
	})
}

func TestDamagedSpoolIsNotSent(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.putting = func(*entry, string) (error, error) { return errLink0, nil }
		b := newBench(t, dir, c).start()
		for _, name := range []string{"a", "b", "c", "d"} {
			b.add("log", "", name, "contents of "+name)
		}
		time.Sleep(time.Minute)
		b.stop()
		for seq, spoil := range map[uint64]func(rec string) error{
			2: func(rec string) error { return os.WriteFile(rec, []byte("garbage"), 0o600) },
			3: os.Remove,
			4: func(rec string) error {
				return atomicfile.Write(rec, atomicfile.Seal([]byte(`{"seq":4,"type":"log","name":"../../etc","size":1}`)), 0o600)
			},
		} {
			if err := errors.Join(spoil(b.spool.path(seq, "rec")), b.spool.remove(b.spool.path(seq, "rec.prev"))); err != nil {
				t.Fatal(err)
			}
		}
		for _, stray := range []string{"add-1.tmp", "notes.txt", "000000000099.rec"} {
			if err := os.WriteFile(b.spool.dir+"/"+stray, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c.putting = nil
		b = newBench(t, dir, c).start()
		s := b.idle()
		b.stop()
		equal(t, "arrived", c.arrived(), []string{"log//a=contents of a"})
		equal(t, "quarantined", s.Quarantined, 3)
		equal(t, "spool", b.spooled(), []string{"notes.txt"})
	})
}

func TestQuarantineIsBounded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.creating = func(string, string) (error, error) { return &statusError{status: 400}, nil }
		b := newBench(t, dir, c)
		b.MaxSpool = 400
		b.start()
		defer b.stop()
		for i := range 10 {
			b.add("log", "", fmt.Sprint(i), strings.Repeat("x", 30))
			b.idle()
		}
		q := b.quarantine()
		if len(q) != 3 || q["9"] == "" || q["8"] == "" || q["7"] == "" {
			t.Errorf("quarantined %q", q)
		}
		b.add("log", "", "large", strings.Repeat("x", 300)) // the newest always stays
		b.idle()
		if q := b.quarantine(); len(q) != 1 || q["large"] == "" {
			t.Errorf("quarantined %q", q)
		}
		if n := len(files(b.spool.bad, func(string) bool { return false })); n != 2 {
			t.Errorf("%d files in quarantine's directory, want one and its reason", n)
		}
	})
}

// TestUploadIsStreamed sends far more than may be held in memory.
func TestUploadIsStreamed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const size = 48 << 20
		s := &counter{}
		b := newBench(t, dir, s)
		b.start()
		defer b.stop()
		if _, err := b.Add(t.Context(), "log", "", "big", io.LimitReader(zeros{}, size)); err != nil {
			t.Fatal(err)
		}
		b.idle()
		if s.n != size || s.largest > 64<<10 {
			t.Errorf("%d bytes arrived, %d at a time", s.n, s.largest)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A counter is a Sender that keeps nothing.
type counter struct{ n, largest int }

func (c *counter) CreateDataFile(context.Context, string, string) (string, error) { return "1", nil }

func (c *counter) PutDataFile(_ context.Context, _, _ string, _ int64, r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		c.n += n
		c.largest = max(c.largest, n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
