package outbox

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

// A gateway is what must be true of an outbox whatever happens to the power:
// who was told what.
type gateway struct {
	disk  *powercut.Disk
	o     *Outbox
	ways  func(*powercut.Disk) atomicfile.ReadFS // how the outbox sees the disk
	n     int
	safe  []string        // Put returned nil, in order
	tried map[string]bool // Put was called
	acked map[string]bool
	out   []*Entry
}

func newGateway(ways func(*powercut.Disk) atomicfile.ReadFS) *gateway {
	g := &gateway{disk: powercut.New(), ways: ways, tried: map[string]bool{}, acked: map[string]bool{}}
	g.boot()
	return g
}

func (g *gateway) boot() {
	g.o, g.out = &Outbox{Dir: ".", FS: g.ways(g.disk), MaxBytes: 64 << 10}, nil
}

func asIs(d *powercut.Disk) atomicfile.ReadFS { return d }

// put is a message of about size bytes. The name says everything of it.
func (g *gateway) put(size int, latest bool) {
	g.n++
	topic := "event"
	if latest {
		topic = "state"
	}
	payload := fmt.Sprintf("%d.%s", g.n, strings.Repeat("x", size))
	g.tried[topic+"="+payload] = true
	if g.o.Put(Message{Topic: topic, Payload: []byte(payload), Latest: latest}) == nil {
		g.safe = append(g.safe, topic+"="+payload)
	}
}

func (g *gateway) next(n int) error {
	entries, err := g.o.Next(n, 1<<20)
	g.out = append(g.out, entries...)
	for _, e := range entries {
		if name := e.Topic + "=" + string(e.Payload); !g.tried[name] {
			return fmt.Errorf("%.60q was never put", name)
		}
	}
	if err != nil && !g.disk.Off() {
		return err
	}
	return nil
}

func (g *gateway) ack(i int) {
	if len(g.out) > 0 {
		i %= len(g.out)
		g.o.Ack(g.out[i])
		g.acked[g.out[i].Topic+"="+string(g.out[i].Payload)] = true
		g.out = slices.Delete(g.out, i, i+1)
	}
}

// check reads all that waits after a cut, and returns what is wrong with it.
func (g *gateway) check(after *powercut.Disk) error {
	o := &Outbox{Dir: ".", FS: after, MaxBytes: 64 << 10}
	entries, err := o.Next(1<<20, 1<<30)
	if err != nil {
		return err
	}
	found := map[string]int{}
	var last uint64
	newest := ""
	for i, e := range entries {
		name := e.Topic + "=" + string(e.Payload)
		if !g.tried[name] {
			return fmt.Errorf("%.60q was never put", name)
		}
		if _, twice := found[name]; twice || e.Seq <= last {
			return fmt.Errorf("%.20q twice or out of order", name)
		}
		found[name], last = i, e.Seq
	}
	order := -1
	for _, name := range g.safe {
		if strings.HasPrefix(name, "state=") {
			newest = name
			continue
		}
		at, ok := found[name]
		if !ok && !g.acked[name] {
			return fmt.Errorf("%.20q was durable and is lost", name)
		}
		if ok && at < order {
			return fmt.Errorf("%.20q has changed its place", name)
		}
		if ok {
			order = at
		}
	}
	if _, ok := found[newest]; newest != "" && !ok && !g.acked[newest] && !slices.ContainsFunc(entries, func(e *Entry) bool { return e.Topic == "state" }) {
		return fmt.Errorf("%.20q was durable and the newest, and is lost", newest)
	}
	return nil
}

// play draws what happens between two cuts and reports the first thing wrong.
func play(t *rapid.T, g *gateway) error {
	for range rapid.IntRange(1, 3).Draw(t, "lives") {
		g.disk.CutAt(g.disk.Calls() + rapid.IntRange(1, 60).Draw(t, "cut"))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				g.put(rapid.SampledFrom([]int{0, 10, 300, 6000}).Draw(t, "size"), false)
			case 2:
				g.put(rapid.SampledFrom([]int{10, 2000}).Draw(t, "size"), true)
			case 3:
				if err := g.next(rapid.IntRange(1, 5).Draw(t, "n")); err != nil {
					return err
				}
			case 4:
				g.ack(rapid.IntRange(0, 3).Draw(t, "which"))
			case 5:
				g.o.Settle()
			}
			if g.o.Status().Dropped > 0 { // full: losing the oldest is right
				return nil
			}
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var after *powercut.Disk
		for range 4 {
			after = g.disk.Cut(rng, 0)
			if err := g.check(g.disk.Cut(rng, 0)); err != nil {
				return fmt.Errorf("%w in\n%.2000s", err, after)
			}
		}
		g.disk = after
		g.boot()
	}
	return nil
}

func TestNothingDurableIsLostToThePower(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := play(t, newGateway(asIs)); err != nil {
			t.Fatal(err)
		}
	})
}

// Without a call that it needs, the outbox must lose something.
type without struct {
	*powercut.Disk
	call string
}

type unsynced struct{ atomicfile.File }

func (unsynced) Sync() error { return nil }

func (w without) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	f, err := w.Disk.Create(name, perm)
	if w.call == "sync" && err == nil {
		return unsynced{f}, nil
	}
	return f, err
}

func (w without) SyncDir(dir string) error {
	if w.call == "syncdir" {
		return nil
	}
	return w.Disk.SyncDir(dir)
}

func TestPowerCutTestSeesAMissingSync(t *testing.T) {
	for _, call := range []string{"sync", "syncdir"} {
		var found error
		for seed := 0; seed < 300 && found == nil; seed++ {
			found = rapid.Custom(func(t *rapid.T) error {
				return play(t, newGateway(func(d *powercut.Disk) atomicfile.ReadFS { return without{d, call} }))
			}).Example(seed)
		}
		if found == nil {
			t.Errorf("without %s nothing is seen to be lost", call)
		}
	}
}
