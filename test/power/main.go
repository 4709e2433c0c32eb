// Power takes the power away from a machine that updates itself.
//
// The machine is a virtual one with the agent, its installer and the file hook,
// and a disk of its own, with a write cache or without. A simulated cloud offers
// it one release after another, every third of them ill. At random instants the
// power fails: what the disk had not promised to keep is lost, or kept, or torn.
// After each start the module is the exact version that it was, or the exact one
// that it is to be; at the end the machine has settled.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	cuts := flag.Int("cuts", 50, "how often the power fails")
	kernel := flag.String("kernel", "build/kernel", "directory of an unpacked kernel package")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the instants")
	limit := flag.Duration("limit", 40*time.Minute, "in all")
	dir := flag.String("dir", "build/power", "directory for what the guests say")
	flag.Parse()
	if err := run(*cuts, *kernel, *dir, *seed, time.Now().Add(*limit)); err != nil {
		row("FAIL", "power cuts: %v (seed %d, see %s)", err, *seed, *dir)
		os.Exit(1)
	}
}

func row(result, format string, a ...any) {
	fmt.Printf("  %-8s %s\n", result, fmt.Sprintf(format, a...))
}

// A trial is one machine and its cloud.
type trial struct {
	machine
	random   *rand.Rand
	sim      func(args ...string) ([]byte, error)
	versions map[string]string // digest: version
	ill      map[string]bool   // by version
	newest   string
	last     status // that the guest told
	settled  string // the version that the last settled release left
	met      map[string]int
	kept     int // releases that stayed
	undone   int // releases that were taken back
}

// A status is what the guest tells of itself.
type status struct {
	target, running string
	phase           string
	installed       string
	denied, outcome string
}

func run(cuts int, kernel, dir string, seed uint64, end time.Time) (err error) {
	start := time.Now()
	t := &trial{random: rand.New(rand.NewPCG(seed, 1)), versions: map[string]string{}, ill: map[string]bool{}, met: map[string]int{}}
	if t.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(t.dir), os.MkdirAll(t.dir, 0o755)); err != nil {
		return err
	}
	stop, err := t.prepare(kernel)
	if stop != nil {
		defer stop()
	}
	if err != nil {
		return err
	}
	lost := 0
	for n := range cuts {
		if time.Now().After(end) {
			t.figures(lost, start)
			return fmt.Errorf("out of time after %d cuts without a bad end", n)
		}
		t.disk.cached = n%2 == 0
		if err := t.cutOnce(n); err != nil {
			return fmt.Errorf("cut %d: %w; last: %+v", n+1, err, t.last)
		}
		lost += t.disk.lost
	}
	if err := t.settle(cuts); err != nil {
		return fmt.Errorf("after the last cut: %w; last: %+v", err, t.last)
	}
	t.figures(lost, start)
	row("ok", "the power failed %d times (seed %d), every second time with a write cache: 0 bad ends", cuts, seed)
	return nil
}

// figures tells what was met.
func (t *trial) figures(lost int, start time.Time) {
	for phase, n := range t.met {
		row("figure", "%3d x cut in %s", n, phase)
	}
	row("figure", "%d writes were lost; %d releases stayed, %d were undone, in %v", lost, t.kept, t.undone, time.Since(start).Round(time.Second))
}

// cutOnce starts the machine and takes its power away.
func (t *trial) cutOnce(n int) error {
	b, err := t.start(n)
	if err != nil {
		return err
	}
	defer func() {
		b.off()
		t.disk.cut(t.random)
	}()
	if err := t.comesUp(b); err != nil {
		return err
	}
	window := time.Duration(t.random.Int64N(int64(45 * time.Second)))
	t.last.phase = "start"
	ctx, cancel := context.WithTimeout(context.Background(), window)
	defer cancel()
	err = t.watch(ctx, b, func() bool { return false })
	t.met[t.last.phase]++
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// comesUp wants the module to be whole before anything has been started.
func (t *trial) comesUp(b *boot) error {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	line, err := b.wait(ctx, "target", "no disk")
	if err != nil {
		return err
	}
	digest := strings.TrimPrefix(line, "target ")
	v, ok := t.versions[digest]
	if !ok {
		return fmt.Errorf("the module is neither version: %s", line)
	}
	if v != t.settled && v != t.newest {
		return fmt.Errorf("the module is %s, and may be %s or %s", v, t.settled, t.newest)
	}
	return nil
}

// watch follows the guest until enough says so, and gives it the next release
// whenever it has settled.
func (t *trial) watch(ctx context.Context, b *boot, enough func() bool) error {
	for {
		line, err := b.wait(ctx, "status ")
		if err != nil {
			return err
		}
		if err := t.take(line); err != nil {
			continue // the line was cut, or another's words are in it
		}
		over, err := t.over()
		if err != nil {
			return err
		}
		if over {
			if enough() {
				return nil
			}
			if err := t.offer(); err != nil {
				return err
			}
		}
	}
}

// take reads a line of the guest.
func (t *trial) take(line string) error {
	words := strings.SplitN(line, " ", 4)
	if len(words) < 4 {
		return errors.New("too short")
	}
	var s struct {
		OTA []struct{ Phase, Installed, Denied, Outcome string }
	}
	if err := json.Unmarshal([]byte(words[3]), &s); err != nil {
		return err
	}
	if len(s.OTA) != 1 {
		return errors.New("no module")
	}
	m := s.OTA[0]
	t.last = status{target: words[1], running: words[2], phase: m.Phase, installed: m.Installed, denied: m.Denied, outcome: m.Outcome}
	return nil
}

// over reports whether the newest release has come to its end, and wants that end
// to be the right one.
func (t *trial) over() (bool, error) {
	s := t.last
	if !strings.EqualFold(s.phase, "idle") {
		return false, nil
	}
	v := t.versions[s.target]
	switch {
	case strings.Contains(s.denied, t.newest):
		if v != t.settled || s.running != s.target {
			return false, fmt.Errorf("%s was taken back, and %s stands there, %s runs", t.newest, v, t.versions[s.running])
		}
		t.undone++
	case v == t.newest && s.installed == t.newest:
		if t.ill[t.newest] || s.running != s.target {
			return false, fmt.Errorf("%s stayed, ill: %v; %s runs", v, t.ill[v], t.versions[s.running])
		}
		t.settled = t.newest
		t.kept++
	default:
		return false, nil
	}
	return true, nil
}

// settle lets the machine run until it has come to an end.
func (t *trial) settle(n int) error {
	b, err := t.start(n)
	if err != nil {
		return err
	}
	defer b.off()
	if err := t.comesUp(b); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	return t.watch(ctx, b, func() bool { return true })
}
