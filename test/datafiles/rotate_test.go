//go:build integration

package datafiles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	linesPerSecond = 5000
	kept           = 64 // rotations, as many as the test makes: none is deleted before a slow machine has come to it
)

const collectSettings = `[collect.app]
files    = %[1]s/log/app.log
interval = 1s
size     = 256KiB
`

// A writer writes numbered lines to a log, each by one call.
type writer struct {
	f    atomic.Pointer[os.File]
	next atomic.Int64 // number of the next line: those before it are written
}

func (w *writer) reopen(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if old := w.f.Swap(f); old != nil {
		// The other goroutine may be writing to it: it is closed a rotation later.
		time.AfterFunc(time.Second, func() { old.Close() })
	}
	return nil
}

// run writes until stop is closed.
func (w *writer) run(stop <-chan struct{}) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
		for due := int64(time.Since(start).Seconds() * linesPerSecond); w.next.Load() < due; {
			n := w.next.Load()
			if _, err := fmt.Fprintf(w.f.Load(), "line %09d of an engine at 71.5 degrees, 1800 revolutions, all is well\n", n); err != nil {
				return err
			}
			w.next.Add(1)
		}
	}
}

// shift makes room for app.log.1.
func (g *gateway) shift() error {
	name := func(i int) string { return fmt.Sprintf("%s.%d", g.path("log/app.log"), i) }
	for i := kept; i > 0; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(name(kept + 1)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// A gap is the lines that may have been written while nobody could read them.
type gap struct{ from, to int64 }

// rotate rotates the log each second until it has done so n times.
func (g *gateway) rotate(w *writer, n int, by func() (gap, error)) (gaps []gap, err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range n {
		<-tick.C
		if err := g.shift(); err != nil {
			return gaps, err
		}
		one, err := by()
		if err != nil {
			return gaps, err
		}
		gaps = append(gaps, one)
	}
	return gaps, nil
}

// collected reads the lines at the cloud, and how often each is there.
func (g *gateway) collected() (times map[int64]int, broken []string, files int) {
	times = map[int64]int{}
	for _, f := range g.cloud.Uploads() {
		files++
		for line := range bytes.Lines(f.Content) {
			word, rest, ok := bytes.Cut(bytes.TrimPrefix(line, []byte("line ")), []byte(" "))
			n, err := strconv.ParseInt(string(word), 10, 64)
			if !ok || err != nil || string(rest) != "of an engine at 71.5 degrees, 1800 revolutions, all is well\n" {
				broken = append(broken, string(line))
				continue
			}
			times[n]++
		}
		if f.Others != 0 {
			g.t.Errorf("%s: other contents came under its id", f.Name)
		}
	}
	return times, broken, files
}

// TestRotatedLogsArrive has a log written at 5,000 lines a second and rotated
// every second, for ROTATIONS seconds, while the agent is killed every five.
func TestRotatedLogsArrive(t *testing.T) {
	t.Parallel()
	n := full("ROTATIONS", 9)
	for _, way := range []string{"rename", "copytruncate"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, newRandom(t), collectSettings)
			log := g.path("log/app.log")
			w := &writer{}
			g.must(w.reopen(log))
			g.start()
			g.until("the log is followed", time.Minute, func() bool {
				s := g.status().Upload.Collect
				return len(s) == 1 && s[0].Files > 0
			})
			rename := func() (gap, error) {
				if err := os.Rename(log, log+".1"); err != nil {
					return gap{}, err
				}
				return gap{}, w.reopen(log)
			}
			copied := func() (gap, error) {
				from, err := copyFile(log+".1", log, w.next.Load)
				if err != nil {
					return gap{}, err
				}
				err = os.Truncate(log, 0)
				return gap{from, w.next.Load()}, err
			}
			stop := make(chan struct{})
			var work errgroup.Group
			work.Go(func() error { return w.run(stop) })
			var gaps []gap
			work.Go(func() (err error) {
				defer close(stop)
				by := rename
				if way == "copytruncate" {
					by = copied
				}
				gaps, err = g.rotate(w, n, by)
				return err
			})
			for ended := false; !ended; {
				select {
				case <-stop:
					ended = true
				case <-time.After(5 * time.Second):
					g.kill()
					g.start()
				}
			}
			g.must(work.Wait())
			written := w.next.Load()
			g.until("all is collected and sent", 3*time.Minute, func() bool {
				there, _, _ := g.collected()
				s := g.status().Upload
				return there[written-1] > 0 && len(s.Collect) == 1 && s.Collect[0].BytesBehind == 0 && s.Queued == 0
			})
			s := g.status().Upload.Collect[0]
			g.stop()
			judge(t, g, written, gaps, way == "copytruncate", fmt.Sprintf("%+v", s))
		})
	}
}

// judge wants every line once. Those that a copy missed may be missing, and
// what was half of one.
func judge(t *testing.T, g *gateway, written int64, gaps []gap, may bool, status string) {
	times, broken, files := g.collected()
	lost, allowed := int64(0), int64(0)
	for _, one := range gaps {
		allowed += one.to - one.from + 1
	}
	var missing, twice []int64
	for n := range written {
		switch {
		case times[n] > 1:
			twice = append(twice, n)
		case times[n] == 1:
		case !may || !slices.ContainsFunc(gaps, func(one gap) bool { return n >= one.from && n <= one.to }):
			missing = append(missing, n)
		default:
			lost++
		}
	}
	if len(missing)+len(twice) > 0 {
		t.Errorf("%d lines are lost, as %v; %d are there twice, as %v", len(missing), missing[:min(9, len(missing))], len(twice), twice[:min(9, len(twice))])
	}
	if len(broken) > 0 && (!may || len(broken) > len(gaps)) {
		t.Errorf("broken lines: %q", broken)
	}
	t.Logf("%d lines by %d rotations in %d data files, %d kills: %d lost of at most %d written between copy and truncation, none twice, %d cut off; %s",
		written, len(gaps), files, g.kills, lost, allowed, len(broken), status)
}

// copyFile copies a log as logrotate does, and returns the number of the line
// that was next before its end was found.
func copyFile(to, from string, next func() int64) (line int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	buf := make([]byte, 64<<10)
	for {
		line = next()
		n, err := in.Read(buf)
		if _, werr := out.Write(buf[:n]); werr != nil {
			return line, werr
		}
		if err == io.EOF {
			return line, nil
		}
		if err != nil {
			return line, err
		}
	}
}
